"""Low-pass: a Gaussian blur, or down and up again. Both are separable, so an image becomes rows · image · columnsᵀ."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .resized_crop import Resampling, resample, restore, weights

SIGMA = (0.4, 1.2)  # pixels; OpenCV's window of three is 0.8
WINDOW = 6  # sigmas; farther pixels count less than float32 rounds
SMALLEST, SIZES = 0.4, 7  # the least side, as a share of the image's, and how many sides there are up to all of it


class _Separable:
    """What has matrices for rows and columns as its parameters."""

    def apply(self, images: Tensor, params: Resampling) -> tuple[Tensor, None]:
        return resample(images, params), None

    def adjoint(self, gradient: Tensor, params: Resampling, saved: None) -> Tensor:
        return restore(gradient, params)


class Blur(_Separable):
    """A Gaussian whose width is uniform in `SIGMA`, its window cut off at the edges of the image and made whole."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling:
        draw = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
        sigma = SIGMA[0] + (SIGMA[1] - SIGMA[0]) * draw
        return Resampling(*(_gaussian(sigma, length) for length in images.shape[2:]))


class Resize(_Separable):
    """Down to a side drawn from `SIZES` equal steps, with antialiasing, and up again, bilinear both."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling:
        size = torch.randint(0, SIZES, (len(images),), generator=generator, device=images.device)
        return Resampling(*(_down_up(length, images.device, images.dtype)[size] for length in images.shape[2:]))


def _gaussian(sigma: Tensor, length: int) -> Tensor:
    """Matrices (N, length, length). Beyond `WINDOW` sigmas they are 0: it would not show, and subnormal numbers are
    what CPUs multiply fifty times slower.
    """
    place = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    distance = (place[:, None] - place) / sigma[:, None, None]
    weight = torch.exp(-0.5 * distance**2) * (distance.abs() <= WINDOW)
    return weight / weight.sum(2, keepdim=True)


@functools.lru_cache(maxsize=64)
def _down_up(length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Matrices (SIZES, length, length), from the smallest side up."""
    start = torch.zeros(1, dtype=dtype)
    made = []
    for number in range(SIZES):
        share = SMALLEST + (1 - SMALLEST) * number / SIZES
        side = max(1, round(share * length))
        down, up = weights(start, start + length, length, side), weights(start, start + side, side, length)
        made.append(up @ down)
    return torch.cat(made).to(device)
