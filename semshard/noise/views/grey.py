"""Greyscale: three equal channels, the luma of ITU-R BT.601."""

from __future__ import annotations

import torch
from torch import Tensor

from .constants import constant

LUMA = (0.299, 0.587, 0.114)


class Grey:
    """Every image without its colour."""

    def draw(self, images: Tensor, generator: torch.Generator) -> None:
        """Nothing is random."""

    def apply(self, images: Tensor, params: None) -> tuple[Tensor, None]:
        return luma(images).expand_as(images), None

    def adjoint(self, gradient: Tensor, params: None, saved: None) -> Tensor:
        return luma_adjoint(gradient.sum(1, keepdim=True))


def luma(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W)."""
    return (images * constant(LUMA, images)[:, None, None]).sum(1, keepdim=True)


def luma_adjoint(gradient: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 3, H, W)."""
    return gradient * constant(LUMA, gradient)[:, None, None]
