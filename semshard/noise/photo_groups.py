"""Photographs of one shape while noise for them is crafted: their pixels, and what views of them are made with.

A view is R · image · Cᵀ, three channels alike. Images lie in memory as (h, 3, w): the rows of all J views of side s are
one product of (J·s × h) by (h × 3w), 6·J·s·h·w operations, which reads the pixels once, and its result is what the
columns are multiplied with, 6·J·s²·w operations, without a copy in between. For two views of 64 pixels of a photograph
of 500 × 375 that is 0.14 + 0.02 GFLOP, and as much on the way back. The bands in R and C hold a tenth of it, but matrix
units need less time for all of it than it takes to gather what the bands touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .views.jpeg import Jpeg
from .views.resized_crop import Resampling, box_resampling
from .whole_steps import WholeSteps

MATRIX_VALUES = 1 << 21  # of the matrices for coming views that are made at once


class Crops:
    """The views of n images of one size that boxes (n, K, J, 5) describe, J in each of K steps: top, left, height,
    width, and whether it is mirrored.
    """

    def __init__(self, boxes: Tensor, size: tuple[int, int], side: int, dtype: torch.dtype) -> None:
        self.boxes = boxes.transpose(0, 1)  # (K, n, J, 5): what one step needs is one block of memory
        self._size, self._side, self._dtype = size, side, dtype
        self._made: dict[int, Resampling] = {}

    @property
    def draws(self) -> int:
        """Views per step, J."""
        return self.boxes.shape[2]

    def matrices(self, step: int, first: int, count: int) -> Resampling:
        """Of a step's views `first` and the `count` − 1 after it, as far as there are so many: rows (n, count, side, h)
        and columns (n, count, side, w). Those of the following steps are made along with them: ten steps take hardly
        longer than one.
        """
        if step not in self._made:
            steps, n, draws, _ = self.boxes.shape
            ahead = range(step, min(steps, step + max(1, MATRIX_VALUES // (n * draws * self._side * sum(self._size)))))
            top, left, height, width, flip = self.boxes[ahead.start : ahead.stop].flatten(0, 2).unbind(1)
            box = top, left, height, width
            made = box_resampling(box, flip > 0, self._size, self._side, self._dtype)
            rows, columns = (of.view(len(ahead), n, draws, *of.shape[1:]) for of in (made.rows, made.columns))
            self._made = {k: Resampling(rows[at], columns[at]) for at, k in enumerate(ahead)}
        made = self._made[step]
        return Resampling(made.rows[:, first : first + count], made.columns[:, first : first + count])


def resample_all(images: Tensor, by: Resampling) -> Tensor:
    """All views of images (n, h, 3, w), J in turn of each: (n · J, side, 3, side).

    `by` has rows (n, J, side, h) and columns (n, J, side, w), in the dtype of the images.
    """
    n, draws, side, height = by.rows.shape
    down = torch.bmm(by.rows.reshape(n, draws * side, height), images.view(n, height, -1))  # (n, J · side, 3 · w)
    seen = torch.bmm(down.view(n * draws, 3 * side, -1), by.columns.flatten(0, 1).mT)
    return seen.view(n * draws, side, 3, side)


def restore_all(gradient: Tensor, by: Resampling, out: Tensor, add: bool = False) -> None:
    """Write the adjoint of `resample_all`, which sums over J, to `out` (n, h, 3, w), or add it to what is there."""
    n, draws, side, height = by.rows.shape
    across = torch.bmm(gradient.reshape(n * draws, 3 * side, side), by.columns.flatten(0, 1))
    across = across.view(n, draws * side, -1)  # (n, J · side, 3 · w)
    rows = by.rows.reshape(n, draws * side, height).mT
    total = out.view(n, height, -1)
    if add:
        total.baddbmm_(rows, across)
    else:
        torch.bmm(rows, across, out=total)


class Scratch:
    """Memory that every group uses in turn: it stays in the cache, and the system need not clear new pages, which takes
    longer than to fill them.
    """

    def __init__(self, groups: Sequence[PhotoGroup], dtype: torch.dtype) -> None:
        images = max((group.images for group in groups), key=torch.Tensor.numel)
        self._flat = torch.empty(images.numel(), dtype=dtype, device=images.device)

    def of(self, group: PhotoGroup) -> Tensor:
        """Of the shape of the group's images, with anything in it."""
        return self._flat[: group.images.numel()].view(group.images.shape)


@dataclass
class PhotoGroup:
    """Photographs whose cells have the same shape, and their noise so far."""

    numbers: list[int]  # in their batch
    images: Tensor  # uint8 (n, h, 3, w)
    labels: Tensor  # int64 (n,)
    grey: Tensor | None  # bool (n, 1, 1, 1): whose noise has to be the same in all channels; None where no one's
    crops: Crops
    steps: WholeSteps
    jpeg: Jpeg | None = None  # that the photographs are seen through

    @property
    def size(self) -> tuple[int, int]:
        return self.images.shape[1], self.images.shape[3]

    @property
    def boxes(self) -> Tensor:
        """Of the views: (n, K, J, 5)."""
        return self.crops.boxes.transpose(0, 1)

    @property
    def scale(self) -> float:
        """What `values` are multiplied by to be pixels in ±½."""
        return 1 if self.jpeg else self.steps.unit

    def begin(self, random: np.random.Generator) -> None:
        """Start at the images plus a random perturbation."""
        clean = self.steps.pixels(self.images)
        self._low, self._high = self.steps.bounds(clean)
        start = self.steps.start(clean, random)
        if self.grey is not None:
            start = torch.where(self.grey, start[:, :, :1], start)
        self.pixels = torch.clamp(start, self._low, self._high, out=start)  # int16 (n, h, 3, w)

    def values(self, out: Tensor, fold: int) -> Tensor:
        """The perturbed pictures (n, h, 3, w) as they are seen, less ½, in units of `scale`, in the dtype of `out`.

        They are written to `out`, or, where they cost more, kept for further folds of the same step.
        """
        if self.jpeg is None:
            return out.copy_(self.pixels)
        if fold == 0:
            pictures = _swapped(self.pixels, torch.float32).mul_(self.steps.unit).add_(0.5)
            decoded, self._coded = self.jpeg.apply(pictures)
            self._decoded = _swapped(decoded.sub_(0.5), out.dtype)
        return self._decoded

    def descend(self, gradient: Tensor) -> None:
        """One signed step against a gradient (n, h, 3, w) at `values`, which it may overwrite."""
        if self.jpeg is not None:
            at_pictures = self.jpeg.adjoint(_swapped(gradient, torch.float32), self._coded)
            gradient.transpose(1, 2).copy_(at_pictures.add_(0))  # −0 becomes 0
        if self.grey is not None:
            gradient = torch.where(self.grey, gradient.mean(2, keepdim=True), gradient)
        self.steps.descend(self.pixels, gradient, self._low, self._high)

    def noise(self, rho: float) -> Tensor:
        """The noise so far: int8 (n, 3, h, w) grey levels."""
        return self.steps.noise(self.pixels, self.images, rho).transpose(1, 2)


def _swapped(images: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy with rows and channels swapped: (n, h, 3, w) to (n, 3, h, w), or back."""
    swapped = images.transpose(1, 2)
    return torch.empty(swapped.shape, dtype=dtype, device=images.device).copy_(swapped)
