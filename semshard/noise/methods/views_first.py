"""Error-minimising noise as the paper's tables have it (EM): made on views, added to images.

Huang et al., ICLR 2021, as the code of Fu et al. (ICLR 2022) and of the SEM paper computes it. Its images are augmented
when they are loaded, so the surrogate learns from t(x) + δ with a δ made on t(x), and the final δ, made on a random
t(x), too, is added to x. Flipped and moved, it hardly lies where it was made for; `em-aligned` is without this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..ball import to_levels
from ..craft import grey_images
from ..photos import add_cells
from ..views import View
from .error_minimising import FromSurrogate
from .protocol import Photo


@dataclass(frozen=True)
class ViewsFirst(FromSurrogate):
    """Noise that lowers the loss of a random view of each image, enlarged to the image where the view is smaller."""

    views: View  # that come before the noise; `view` is what the noise step does to them

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        crafter, wanted, runtime = self.crafter(), self.target(labels), self.runtime

        def noise(part: int, here: slice) -> Tensor:
            generator = runtime.generator(self.config.seed, "craft", shard, at, part)
            pictures = [torch.tensor(photo, device=runtime.device).permute(2, 0, 1)[None] for photo in photos[here]]
            seen = torch.cat([self.starting(picture.float() / 255, generator) for picture in pictures])
            grey = torch.cat([grey_images(picture) for picture in pictures]) if self.config.grey == "keep" else None
            delta = crafter(seen, wanted[here].to(runtime.device), generator, grey)
            return to_levels(delta, self.config.rho_u).cpu()

        made = runtime.by_parts(len(photos), noise)
        fitted = [self.fitted(each[None], photo.shape[:2])[0] for each, photo in zip(made, photos, strict=True)]
        return [add_cells(photo, each.numpy(), 1) for photo, each in zip(photos, fitted, strict=True)]

    def starting(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random view of each image."""
        return self.views.apply(images, self.views.draw(images, generator))

    def fitted(self, noise: Tensor, size: Sequence[int]) -> Tensor:
        """The noise of views on images of `size`: as it is where they are as large, else by its nearest values."""
        if noise.shape[2:] == torch.Size(size):
            return noise
        rows, columns = (torch.arange(n) * m // n for n, m in zip(size, noise.shape[2:], strict=True))
        return noise[:, :, rows[:, None], columns]
