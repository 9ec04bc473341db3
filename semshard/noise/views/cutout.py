"""Cutout: a grey square in the image (DeVries and Taylor 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

SHARE = 0.5  # of the image's sides
FILL = 0.5


class Cutout:
    """A grey box of half the image's sides, its centre anywhere in the image."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Which pixels stay, bool (N, 1, H, W)."""
        n, _, height, width = images.shape
        draw = torch.rand((2, n, 1), generator=generator, device=images.device, dtype=images.dtype)
        rows, columns = (_hit(centre, side) for centre, side in zip(draw, (height, width), strict=True))
        return ~(rows[:, None, :, None] & columns[:, None, None, :])

    def apply(self, images: Tensor, params: Tensor) -> tuple[Tensor, None]:
        return torch.where(params, images, FILL), None

    def adjoint(self, gradient: Tensor, params: Tensor, saved: None) -> Tensor:
        return gradient * params


def _hit(centre: Tensor, side: int) -> Tensor:
    """Places within a box around shares (N, 1) of a side: bool (N, side)."""
    place = (torch.arange(side, device=centre.device) + 0.5) / side
    return (place - centre).abs() < SHARE / 2
