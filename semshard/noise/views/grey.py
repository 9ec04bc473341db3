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
        return _mixed(images, (LUMA,) * 3), None

    def adjoint(self, gradient: Tensor, params: None, saved: None) -> Tensor:
        return _mixed(gradient, tuple((weight,) * 3 for weight in LUMA))


def _mixed(images: Tensor, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    """Each pixel's channels (3,) times a matrix, of images (N, 3, H, W) in either memory layout, which the result has,
    too. A product takes a sixth of the time of a sum over channels.
    """
    matrix = constant(weights, images)
    if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
        return (matrix @ images.flatten(2)).view(images.shape)
    return (images.permute(0, 2, 3, 1) @ matrix.mT).permute(0, 3, 1, 2)


def luma(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W)."""
    return (images * constant(LUMA, images)[:, None, None]).sum(1, keepdim=True)


def luma_adjoint(gradient: Tensor) -> Tensor:
    """(N, 1, H, W) to (N, 3, H, W)."""
    return gradient * constant(LUMA, gradient)[:, None, None]
