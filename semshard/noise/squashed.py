"""The noise step and the views of a surrogate's training images, where these are photographs squashed to one size.

They are far larger than the views that the network sees, so what happens to their pixels takes as long as the passes.
It goes as in the crafting of photographs: three channels alike as products of matrices (`photo_groups`), signed steps
on whole numbers (`whole_steps`), memory that is used again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..settings import ProtectConfig
from .filtered import Filtered
from .photo_groups import ViewMatrices, alike_in_all_channels, resample_all, restore_all
from .photo_views import ViewGradient
from .scratch import Scratch
from .views import after_crop, before_crop
from .views.resized_crop import ResizedCrop
from .whole_steps import WholeSteps


def suits(config: ProtectConfig) -> bool:
    """Whether the noise step of these settings is one at random resized crops of the images."""
    crops = config.geometry == "resized-crop" and config.noise_views not in (("none",), ("first",))
    return crops and not config.jpeg_safe


@dataclass(frozen=True)
class SquashedImages:
    """Images of one size that are seen through random resized crops, with the heights and widths that they have by
    themselves: `crop` knows both. Products have the dtype of the network, which rounds what it sees to as many bits.
    """

    config: ProtectConfig
    crop: ResizedCrop
    runtime: Runtime

    def noise(
        self,
        network: FoldedNetwork,
        images: Tensor,
        labels: Tensor,
        begin: Tensor | None,
        grey: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """int8 noise of uint8 images (n, 3, H, W), in grey levels, after K_u signed steps from int8 `begin` of their
        shape, or from a random perturbation. Where bool `grey` (n, 1, 1, 1) is true, it is the same in all channels.
        """
        config, steps = self.config, WholeSteps.of(self.config.rho_u, self.config.alpha_u)
        scratch, rows = Scratch(images.device), images.transpose(1, 2).contiguous()
        clean = steps.pixels(rows)
        low, high = steps.bounds(clean)
        if begin is None:
            moved = torch.empty_like(clean).random_(-steps.rho, steps.rho + 1, generator=generator)
        else:
            moved = torch.empty_like(clean).copy_(begin.transpose(1, 2)).mul_(steps.level)
        if grey is not None:
            moved = alike_in_all_channels(moved.float(), grey).round_().to(torch.int16)
        pixels = torch.clamp(moved.add_(clean), low, high)
        at_views = ViewGradient(network, config, after_crop(config.noise_families))
        filters = before_crop(config.noise_families)
        seen_through = Filtered(filters, self.crop.sizes) if filters.members else None
        scale = 1 if seen_through else steps.unit
        together = self.runtime.draws_together
        total = scratch("total", pixels.shape, self.runtime.dtype)
        for _ in range(config.steps_u):
            values = scratch("values", pixels.shape, self.runtime.dtype)
            if seen_through:
                seen_through.values(pixels, steps.unit, values, generator)
            else:
                values.copy_(pixels)
            for first in range(0, config.draws, together):
                count = min(together, config.draws - first)
                by = self._matrices(images, count, scale, generator)
                seen = resample_all(values, by, scratch)
                gradient = at_views(seen, labels.repeat_interleave(count, 0), generator, scratch)
                restore_all(gradient, by, scratch, total, add=first > 0)
            if seen_through:
                seen_through.pull_back(total)
            steps.descend(pixels, alike_in_all_channels(total, grey), low, high)
        return steps.noise(pixels, clean, config.rho_u).transpose(1, 2)

    def views(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A crop of each of uint8 images (n, 3, H, W), through the filters of the views: float32 (n, 3, side, side) in
        [0, 1].
        """
        scratch, rows, filters = Scratch(images.device), images.transpose(1, 2), before_crop(self.config.families)
        values = torch.empty(rows.shape, dtype=self.runtime.dtype, device=images.device)
        if filters.members:
            Filtered(filters, self.crop.sizes).values(rows.float().sub_(127.5), 1 / 255, values, generator)
        else:
            values.copy_(rows).sub_(127.5)
        scale = 1 if filters.members else 1 / 255
        seen = resample_all(values, self._matrices(images, 1, scale, generator), scratch)
        return seen.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).add_(0.5)

    def _matrices(self, images: Tensor, draws: int, scale: float, generator: torch.Generator) -> ViewMatrices:
        """Of so many crops of each image."""
        n, _, height, width = images.shape
        shape = torch.empty(1, device=images.device).expand(n, 3, height, width)
        by = [self.crop.draw(shape, generator) for _ in range(draws)]
        rows, columns = (torch.stack(each, 1) for each in zip(*((one.rows, one.columns) for one in by), strict=True))
        back = rows.flatten(1, 2).mT.to(self.runtime.dtype)
        return ViewMatrices((rows * scale).to(self.runtime.dtype), columns.to(self.runtime.dtype), back)
