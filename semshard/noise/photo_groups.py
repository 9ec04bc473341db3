"""Photographs of one shape while noise for them is crafted: their pixels, and what views of them are made with.
On a GPU several shapes are one: views show nothing of what lies beside a smaller photograph.

A view is R · image · Cᵀ, three channels alike. Images lie in memory as (h, 3, w): the rows of all J views of side s are
one product of (J·s × h) by (h × 3w), 6·J·s·h·w operations, which reads the pixels once, and its result is what the
columns are multiplied with, 6·J·s²·w operations, without a copy in between. For two views of 64 pixels of a photograph
of 500 × 375 that is 0.14 + 0.02 GFLOP, and as much on the way back. The bands in R and C hold a tenth of it, but matrix
units need less time for all of it than it takes to gather what the bands touch. Columns first would read the pixels in
the better order, but the views' columns would then have to be gathered before their rows are multiplied.

A step also reads and writes 26 bytes of each of the photograph's values, where products are bfloat16: 4 for what they
multiply, 4 in the products, 18 in the descent (`whole_steps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .filtered import Filtered
from .scratch import Scratch
from .views.resized_crop import taps
from .whole_steps import WholeSteps

MATRIX_VALUES = 3 << 19  # of the matrices for coming views that are made at once


@dataclass(frozen=True)
class ViewMatrices:
    """What resamples n images of one size to J views each, three channels alike."""

    rows: Tensor  # (n, J, side, h), with the scale of the views
    columns: Tensor  # (n, J, side, w)
    rows_back: Tensor  # (n, h, J · side), without the scale: the way back, in the memory layout that it is faster in

    @property
    def draws(self) -> int:
        return self.rows.shape[1]


class Crops:
    """The views of n images of one size that boxes (n, K, J, 5) describe, J in each of K steps: top, left, height,
    width, and whether it is mirrored. Views are the images' values times `scale`; gradients are at what that gives.
    """

    def __init__(self, boxes: Tensor, size: tuple[int, int], side: int, dtype: torch.dtype, scale: float = 1) -> None:
        self.boxes = boxes.transpose(0, 1)  # (K, n, J, 5): what one step needs is one block of memory
        self._size, self._side, self._dtype, self._scale = size, side, dtype, scale
        self._made: dict[int, ViewMatrices] = {}

    @property
    def draws(self) -> int:
        """Views per step, J."""
        return self.boxes.shape[2]

    def matrices(self, step: int, first: int, count: int) -> ViewMatrices:
        """Of a step's views `first` and the `count` − 1 after it, as far as there are so many. Those of the following
        steps are made along with them: several steps take hardly longer than one.
        """
        if step not in self._made:
            steps, n, draws, _ = self.boxes.shape
            height, width = self._size
            most = max(1, MATRIX_VALUES // (n * draws * self._side * (2 * height + width)))
            blocks = -(-(steps - step) // most)
            ahead = range(step, min(steps, step - (step - steps) // blocks))
            self._made.clear()
            self._made = dict(zip(ahead, self._matrices(self.boxes[ahead.start : ahead.stop]), strict=True))
        made, last = self._made[step], first + count
        if count >= self.draws:
            return made
        back = made.rows_back[:, :, first * self._side : last * self._side]
        return ViewMatrices(made.rows[:, first:last], made.columns[:, first:last], back)

    def _matrices(self, boxes: Tensor) -> list[ViewMatrices]:
        """Of each step of boxes (k, n, J, 5)."""
        steps, n, draws, _ = boxes.shape
        (height, width), side, count = self._size, self._side, steps * n * draws
        top, left, tall, wide, flip = boxes.flatten(0, 2).unbind(1)
        weights, pixels = taps(top, tall, height, side)  # (k · n · J, side, taps)
        place = torch.arange(count * side, device=boxes.device).view(count, side, 1)
        rows = _filled(pixels + place * height, weights * self._scale, count * side * height, self._dtype)
        # (k, n, h, J, side): all of an image, then the pixel's row, then the view's place in it
        image, within = place // (draws * side), place % (draws * side)
        back = (image * height + pixels) * (draws * side) + within
        rows_back = _filled(back, weights, count * side * height, self._dtype)
        weights, pixels = taps(left, wide, width, side, flip > 0)
        columns = _filled(pixels + place * width, weights, count * side * width, self._dtype)
        by_step = (
            rows.view(steps, n, draws, side, height),
            columns.view(steps, n, draws, side, width),
            rows_back.view(steps, n, height, draws * side),
        )
        return [ViewMatrices(*each) for each in zip(*by_step, strict=True)]


def _filled(places: Tensor, values: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """`size` numbers, 0 but for `values` at `places`."""
    return values.new_zeros(size, dtype=dtype).index_copy_(0, places.flatten(), values.to(dtype).flatten())


def resample_all(images: Tensor, by: ViewMatrices, scratch: Scratch, out: Tensor | None = None) -> Tensor:
    """All views of images (n, h, 3, w), J in turn of each: (n · J, side, 3, side), `out` where it is given.

    `by` has the dtype of the images.
    """
    n, draws, side, height = by.rows.shape
    down = scratch("narrow", (n, draws * side, images.shape[2] * images.shape[3]), images.dtype)
    torch.bmm(by.rows.reshape(n, draws * side, height), images.view(n, height, -1), out=down)
    seen = images.new_empty(n * draws, side, 3, side) if out is None else out
    columns = by.columns.flatten(0, 1).mT
    torch.bmm(down.view(n * draws, 3 * side, -1), columns, out=seen.view(n * draws, 3 * side, side))
    return seen


def restore_all(gradient: Tensor, by: ViewMatrices, scratch: Scratch, out: Tensor, add: bool = False) -> None:
    """Write the adjoint of `resample_all`, which sums over J, to `out` (n, h, 3, w), or add it to what is there."""
    n, draws, side, height = by.rows.shape
    across = scratch("narrow", (n * draws, 3 * side, out.shape[3]), out.dtype)
    torch.bmm(gradient.view(n * draws, 3 * side, side), by.columns.flatten(0, 1), out=across)
    across = across.view(n, draws * side, -1)  # (n, J · side, 3 · w)
    total = out.view(n, height, -1)
    if add:
        total.baddbmm_(by.rows_back, across)
    else:
        torch.bmm(by.rows_back, across, out=total)


@dataclass
class PhotoGroup:
    """Photographs whose cells have the same shape, and their noise so far."""

    numbers: list[int]  # in their batch
    images: Tensor  # uint8 (n, h, 3, w)
    labels: Tensor  # int64 (n,), or shares of the classes, float (n, classes)
    grey: Tensor | None  # bool (n, 1, 1, 1): whose noise has to be the same in all channels; None where no one's
    crops: Crops
    steps: WholeSteps
    filtered: Filtered | None = None  # what the photographs are seen through
    sizes: Sequence[tuple[int, int]] = ()  # of each photograph, where some are smaller; its pixels come first
    _kept: Tensor | None = None  # filtered pictures of the present step

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[1], self.images.shape[3]

    @property
    def boxes(self) -> Tensor:
        """Of the views: (n, K, J, 5)."""
        return self.crops.boxes.transpose(0, 1)

    def begin(self, random: np.random.Generator) -> None:
        """Start at the images plus a random perturbation."""
        clean = self.steps.pixels(self.images)
        self.low, self.high = self.steps.bounds(clean)
        start = self.steps.start(clean, random)
        if self.grey is not None:
            start = torch.where(self.grey, start[:, :, :1], start)
        self.pixels = torch.clamp(start, self.low, self.high, out=start)  # int16 (n, h, 3, w)

    def values(self, out: Tensor, fold: int, generator: torch.Generator) -> Tensor:
        """The perturbed pictures (n, h, 3, w) as they are seen, less ½, in units of which `crops` knows the
        scale, in the dtype of `out`.

        They are written to `out`, or, where they cost more, kept for further folds of the same step.
        """
        if self.filtered is None:
            return out.copy_(self.pixels)
        if fold == 0:
            if self._kept is None:
                self._kept = torch.empty_like(out)
            self.filtered.values(self.pixels, self.steps.unit, self._kept, generator)
        assert self._kept is not None
        return self._kept

    def descend(self, gradient: Tensor) -> None:
        """One signed step against a gradient (n, h, 3, w) at `values`, which it may overwrite."""
        if self.filtered is not None:
            self.filtered.pull_back(gradient)
        self.steps.descend(self.pixels, alike_in_all_channels(gradient, self.grey), self.low, self.high)

    def noise(self, rho: float) -> list[NDArray[np.int8]]:
        """The noise so far of each photograph: int8 (3, h, w) grey levels."""
        noise = self.steps.noise(self.pixels, self.steps.pixels(self.images), rho).transpose(1, 2).cpu().numpy()
        sizes = self.sizes or [self.size] * len(noise)
        return [each[:, :height, :width] for each, (height, width) in zip(noise, sizes, strict=True)]


def alike_in_all_channels(gradient: Tensor, grey: Tensor | None) -> Tensor:
    """The gradient (n, h, 3, w); photographs that are `grey` (n, 1, 1, 1) have the mean of the channels in each."""
    return gradient if grey is None else torch.where(grey, gradient.mean(2, keepdim=True), gradient)
