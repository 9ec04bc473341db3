"""Bit depth: few levels per channel."""

from __future__ import annotations

import torch
from torch import Tensor

DEPTH = (2, 5)


class Bits:
    """2ᵈ levels per channel, d uniform in `DEPTH`. The true slope is 0 almost everywhere, so the gradient is
    straight-through (Bengio et al. 2013).
    """

    def draw(self, images: Tensor, generator: torch.Generator) -> Tensor:
        low, high = DEPTH
        depth = torch.randint(low, high + 1, (len(images), 1, 1, 1), generator=generator, device=images.device)
        return 2 ** depth.to(images.dtype) - 1

    def apply(self, images: Tensor, params: Tensor) -> tuple[Tensor, None]:
        return (images * params).round_().div_(params), None

    def adjoint(self, gradient: Tensor, params: Tensor, saved: None) -> Tensor:
        return gradient
