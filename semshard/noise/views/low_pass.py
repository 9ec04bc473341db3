"""Low-pass: a Gaussian blur, or down and up again. Both are separable, so an image becomes rows · image · columnsᵀ.

What they take away is measured in pixels. Of squashed pictures these are pixels of the pictures by themselves.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from .resized_crop import Resampling, resample, restore, weights

SIGMA = (0.4, 1.2)  # pixels; OpenCV's window of three is 0.8
WINDOW = 6  # sigmas; farther pixels count less than float32 rounds
SMALLEST, SIZES = 0.4, 7  # the least side, as a share of the image's, and how many sides there are up to all of it


@dataclass(frozen=True)
class LowPass:
    """What has matrices for rows and columns as its parameters. `sizes`, int64 (N, 2), are the heights and widths that
    squashed pictures have by themselves; None where they are as they are.
    """

    sizes: Tensor | None = field(default=None, compare=False)

    def on(self, sizes: Tensor | None) -> Self:
        return replace(self, sizes=sizes)

    def apply(self, images: Tensor, params: Resampling) -> tuple[Tensor, None]:
        return resample(images, params), None

    def adjoint(self, gradient: Tensor, params: Resampling, saved: None) -> Tensor:
        return restore(gradient, params)

    def _squashed(self, images: Tensor, axis: int) -> Tensor | None:
        """The lengths of pictures along an axis, as shares of those they have by themselves, (N,)."""
        return None if self.sizes is None else images.shape[2 + axis] / self.sizes[:, axis].to(images)


class Blur(LowPass):
    """A Gaussian whose width is uniform in `SIGMA`, its window cut off at the edges of the image and made whole."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling:
        draw = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
        sigma = SIGMA[0] + (SIGMA[1] - SIGMA[0]) * draw
        shares = (self._squashed(images, axis) for axis in range(2))
        widths = (sigma if share is None else share * sigma for share in shares)
        return Resampling(*(_gaussian(width, length) for width, length in zip(widths, images.shape[2:], strict=True)))


class Resize(LowPass):
    """Down to a side drawn from `SIZES` equal steps, with antialiasing, and up again, bilinear both."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling:
        size = torch.randint(0, SIZES, (len(images),), generator=generator, device=images.device)
        return Resampling(*(self._matrices(images, axis, size) for axis in range(2)))

    def _matrices(self, images: Tensor, axis: int, size: Tensor) -> Tensor:
        """Of one axis (N, length, length). The side of a squashed picture is the nearest of those that there are."""
        share = self._squashed(images, axis)
        if share is not None:
            side = (SMALLEST + (1 - SMALLEST) / SIZES * size) / share  # as a share of the squashed picture
            size = ((side - SMALLEST) * (SIZES / (1 - SMALLEST))).round_().clamp_(0, SIZES).long()
        return _down_up(images.shape[2 + axis], images.device, images.dtype)[size]


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
    """Matrices (SIZES + 1, length, length), from the smallest side up; the last leaves everything as it is."""
    start = torch.zeros(1, dtype=dtype)
    made = []
    for number in range(SIZES + 1):
        share = SMALLEST + (1 - SMALLEST) * number / SIZES
        side = max(1, round(share * length))
        down, up = weights(start, start + length, length, side), weights(start, start + side, side, length)
        made.append(up @ down)
    return torch.cat(made).to(device)
