"""The gradient of the loss at views of photographs: filters, the inner perturbation, and the network between.

Views come as the rows of three channels that products give, less ½, in the dtype of the products. In between they are
pixels of three channels, as networks take them. All that is written is used again at the next step.

Of each value of a view 56 bytes are read and written with a random perturbation and bfloat16 products, in a dozen
passes over memory that stays near a core.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine import FoldedNetwork
from ..settings import ProtectConfig
from .adversary import inner_perturbation
from .ball import add_coarse_uniform, within
from .layouts import to_pixels, to_rows
from .scratch import Scratch
from .views import Families


@dataclass(frozen=True)
class ViewGradient:
    """The gradient at views, through `families`, by a network, each with a perturbation as in the noise step."""

    network: FoldedNetwork
    config: ProtectConfig
    families: Families

    def __call__(self, seen: Tensor, labels: Tensor, generator: torch.Generator, scratch: Scratch) -> Tensor:
        """At contiguous rows (N, side, 3, side) of views less ½, whose memory it takes for the result; int64 labels
        (N,).
        """
        n, side, _, width = seen.shape
        shape, dtype = (n, 3, side, width), seen.dtype
        pixels = to_pixels(seen, scratch.last("pixels", shape, dtype))
        views = pixels if dtype is torch.float32 else scratch.last("views", shape, torch.float32).copy_(pixels)
        if not self.families.members:
            gradient = self._perturbed(views, pixels, labels, generator, scratch)
        else:
            params = self.families.draw(views, generator)
            mapped = self.families.apply(views.add_(0.5), params)
            torch.sub(mapped, 0.5, out=views)
            gradient = self._perturbed(views, pixels, labels, generator, scratch).to(torch.float32)
            gradient = self.families.adjoint(gradient, params).to(dtype)
        return to_rows(gradient.contiguous(memory_format=torch.channels_last), seen)

    def _perturbed(
        self, views: Tensor, narrow: Tensor, labels: Tensor, generator: torch.Generator, scratch: Scratch
    ) -> Tensor:
        """The gradient at `views` (N, 3, H, W), float32 less ½, which it perturbs; clipped pixels have none.

        `narrow` is memory of their shape for what the network sees, in the dtype that it is to have.
        """
        perturbation = inner_perturbation(self.config.noise_step, self.config)
        if perturbation.rho and not perturbation.steps:
            add_coarse_uniform(views, perturbation.rho, generator, scratch("drawn", views.shape, torch.float32))
        elif perturbation.rho:
            pictures = views + 0.5
            views += perturbation.ascend(self.network, pictures, labels, perturbation.start(pictures, generator))
        narrow.copy_(views)
        shown = torch.clamp(narrow, -0.5, 0.5, out=scratch.last("shown", narrow.shape, narrow.dtype))
        return within(self.network.gradient(shown, labels, centred=True), narrow)
