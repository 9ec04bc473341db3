"""Random resized crop and flip: the augmentation of ImageNet training (Szegedy et al. 2015; torchvision's defaults).

Bilinear resizing with antialiasing is separable: each output row is a weighted sum of input rows, each output column
of input columns. So a crop is two small matrices per image, out = R · image · Cᵀ, and its adjoint is Rᵀ · g · C.

Images of different sizes go through together when they are squashed to one size: boxes are drawn on the sizes they
have by themselves, and moved along, so every crop shows what it would show of the image itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .constants import constant

AREA = (0.08, 1.0)  # of the image
RATIO = (3 / 4, 4 / 3)  # width over height
TRIES = 10
TEST_SHARE = 0.875  # of the short side: 224 of 256


@dataclass(frozen=True)
class Resampling:
    """Per image the matrices that resample its rows (N, side, H) and columns (N, side, W)."""

    rows: Tensor
    columns: Tensor


@dataclass(frozen=True)
class ResizedCrop:
    """A random box of each image, resized to side × side pixels. `sizes`, int64 (N, 2), are the heights and widths
    that squashed images have by themselves; None where they are as they are.
    """

    side: int
    sizes: Tensor | None = field(default=None, compare=False)

    def on(self, sizes: Tensor | None) -> ResizedCrop:
        return replace(self, sizes=sizes)

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling:
        n = len(images)
        height, width = self._own(images)  # (N, 1)

        def uniform(low: float, high: float, tries: int = 1) -> Tensor:
            draw = torch.rand(n, tries, generator=generator, device=images.device, dtype=images.dtype)
            return low + (high - low) * draw

        area = uniform(*AREA, TRIES) * height * width
        ratio = uniform(math.log(RATIO[0]), math.log(RATIO[1]), TRIES).exp()
        widths, heights = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()  # (N, TRIES)
        fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
        first = fits.int().argmax(1, keepdim=True)  # the first try that fits, as torchvision draws
        short = torch.minimum(width, height)[:, 0]
        box_width = torch.where(fits.any(1), widths.gather(1, first)[:, 0], short)
        box_height = torch.where(fits.any(1), heights.gather(1, first)[:, 0], short)
        top = (uniform(0, 1)[:, 0] * (height[:, 0] - box_height + 1)).floor()
        left = (uniform(0, 1)[:, 0] * (width[:, 0] - box_width + 1)).floor()
        flip = uniform(0, 1)[:, 0] < 0.5
        return self._resampling(images, top, left, box_height, box_width, flip)

    def centre(self, images: Tensor) -> Resampling:
        height, width = (own[:, 0] for own in self._own(images))
        box = TEST_SHARE * torch.minimum(height, width)
        return self._resampling(images, (height - box) / 2, (width - box) / 2, box, box, box < 0)

    def apply(self, images: Tensor, params: Resampling) -> Tensor:
        return resample(images, params)

    def adjoint(self, gradient: Tensor, params: Resampling) -> Tensor:
        return restore(gradient, params)

    def _own(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Heights and widths that the images have by themselves, each (N, 1)."""
        if self.sizes is None:
            sizes = constant(tuple(images.shape[2:]), images).expand(len(images), 2)
        else:
            sizes = self.sizes.to(images).repeat(len(images) // max(1, len(self.sizes)), 1)  # of several draws of each
        return sizes[:, :1], sizes[:, 1:]

    def _resampling(
        self, images: Tensor, top: Tensor, left: Tensor, box_height: Tensor, box_width: Tensor, flip: Tensor
    ) -> Resampling:
        if self.sizes is not None:
            down, right = (images.shape[2 + axis] / own[:, 0] for axis, own in enumerate(self._own(images)))
            top, box_height = _moved(top * down, box_height * down, images.shape[2])
            left, box_width = _moved(left * right, box_width * right, images.shape[3])
        return box_resampling((top, left, box_height, box_width), flip, images.shape[2:], self.side)


def _moved(start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A stretch within `size` pixels, two pixels long at least, so that it holds the centre of one."""
    length = length.clamp(min(2, size), size)
    return torch.minimum(start, size - length), length


def box_resampling(
    box: tuple[Tensor, Tensor, Tensor, Tensor],
    flip: Tensor,
    size: Sequence[int],
    side: int,
    dtype: torch.dtype | None = None,
) -> Resampling:
    """What resamples boxes (top, left, height, width; each (N,)) of images of `size` to `side`, mirrored at `flip`.

    The matrices have the dtype of the boxes, or another one.
    """
    top, left, height, width = box
    rows, columns = weights(top, height, size[0], side, None, dtype), weights(left, width, size[1], side, flip, dtype)
    return Resampling(rows, columns)


def resample(images: Tensor, by: Resampling) -> Tensor:
    """Images (N, C, H, W) to (N, C, side, side)."""
    return by.rows[:, None] @ images @ by.columns[:, None].mT


def restore(gradient: Tensor, by: Resampling) -> Tensor:
    """The adjoint of `resample`."""
    return by.rows[:, None].mT @ gradient @ by.columns[:, None]


def weights(
    start: Tensor,
    length: Tensor,
    size: int,
    side: int,
    flip: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Triangle-filter weights (N, side, size) that resample [start, start + length) of `size` pixels to `side`, in
    reverse order at bool `flip` (N,): those of `taps`, in a matrix of zeros.
    """
    weight, index = taps(start, length, size, side, flip)
    row = torch.arange(len(start) * side, device=start.device).mul_(size).view(len(start), side, 1)
    matrix = weight.new_zeros(len(start) * side * size, dtype=dtype)
    matrix.index_copy_(0, index.add_(row).flatten(), weight.to(matrix.dtype).flatten())
    return matrix.view(len(start), side, size)


def taps(start: Tensor, length: Tensor, size: int, side: int, flip: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The few weights of `weights` that can differ from 0, (N, side, at most 2 · size / side + 2), in the dtype of the
    boxes, and the numbers of their pixels, int64 of the same shape.

    No pixel whose centre lies outside the box takes part, as if it had been cut out first.
    """
    scale = length / side  # input pixels an output pixel, (N,)
    place = torch.arange(side, device=start.device) + 0.5
    places = place if flip is None else torch.where(flip[:, None], side - place, place)
    centre = start[:, None] + places * scale[:, None]  # (N, side)
    reach = scale.clamp(min=1)[:, None]  # antialiasing: the filter widens when the image shrinks
    count = min(size, math.ceil(2 * max(1, size / side)) + 1)
    first = (centre - reach - 0.5).floor_().add_(1).clamp_(0, size - count)
    index = first[:, :, None] + torch.arange(count, device=start.device, dtype=start.dtype)  # (N, side, count)
    weight = index.sub((centre - 0.5)[:, :, None]).abs_().div_(reach[:, :, None]).neg_().add_(1).clamp_(min=0)
    # Whole numbers beside the first and the last pixel whose centres are in the box: 1 between them, otherwise 0.
    before, after = ((each - 0.5).ceil_()[:, None, None] for each in (start, start + length))
    weight *= torch.minimum(index - (before - 1), after - index).clamp_(0, 1)
    weight /= weight.sum(2, keepdim=True).clamp_(min=1e-6)
    return weight, index.long()
