"""Defensive noise for photographs at their own resolution (Eqs. 6 and 10, with T as it is for photographs).

Victims see photographs through random resized crops. The smallest of these has `AREA[0]` of the pixels, and a pixel of
any view covers at least the short side of that crop / `crop` of the photograph's pixels per side; no victim sees finer
noise. A photograph is therefore crafted on cells of that many pixels per side: 1 for a photograph less than twice as
large as the closest crop, more for large ones. The gradients of a cell's pixels hardly differ, so this is close to
descent on every pixel, at a cost that does not grow with the camera.

Photographs of a part go through the network together, whatever their sizes; what happens to their pixels between two
passes happens shape by shape (`photo_groups`), on whole numbers (`whole_steps`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..engine.captured import on_gpu
from ..settings import ProtectConfig
from .filtered import Filtered
from .photo_groups import Crops, PhotoGroup, resample_all, restore_all
from .photo_step import moved
from .photo_views import ViewGradient
from .scratch import Scratch
from .views import Families, after_crop, before_crop
from .views.balanced_crops import Boxes, even_boxes
from .views.compressed import Compressed
from .views.resized_crop import AREA, RATIO
from .whole_steps import WholeSteps

Photo = NDArray[np.uint8]  # (H, W, 3) RGB
PART_CELLS = {
    "cpu": 1 << 21,
    "cuda": 1 << 24,
}  # crafted together: what fits into the caches of a CPU; some gigabytes on a GPU
GROUP_VALUES = {
    "cpu": 1 << 19,
    "cuda": 1 << 26,
}  # of the pixels of a group: what fits near a core
FOLD_VALUES = {"cpu": 1 << 25, "cuda": 1 << 28}  # of matrices and strips of the draws that are computed together
MOST_FACTOR = 32  # times the usual draws; enough for formats of 800:1
BAND_PIXELS = 1 << 16  # that noise is added to at once


def cell_side(height: int, width: int, crop: int) -> int:
    """Pixels per side of a cell of a photograph whose views are `crop` pixels wide."""
    closest = min(math.sqrt(AREA[0] * RATIO[0] * height * width), height, width)  # short side of the smallest crop
    return max(1, int(closest / crop))


def draw_factor(height: int, width: int) -> int:
    """How many times the usual draws a photograph gets: a crop covers little of a very long one."""
    return min(MOST_FACTOR, max(1, round(max(height, width) / min(height, width) / RATIO[1])))


def add_cells(photo: Photo, noise: NDArray[np.int8], cell: int, band_pixels: int = BAND_PIXELS) -> Photo:
    """The protected photograph: int8 noise (3, h, w) in grey levels, one value per cell, added and clipped to 0..255.

    About `band_pixels` are computed at once, which fits into a core's cache: a photograph is read and written once.
    """
    height, width = photo.shape[:2]
    out = np.empty_like(photo)
    up, down = (_interleaved(part) for part in (noise, -noise))
    rows, whole = max(1, band_pixels // width), height // cell
    bands = [(top, min(top + rows, whole), cell) for top in range(0, whole, rows)]
    if height % cell:
        bands.append((whole, whole + 1, height % cell))
    for first, last, side in bands:
        at = slice(first * cell, first * cell + (last - first) * side)
        old, new = (of[at].reshape(last - first, side, width * 3) for of in (photo, out))
        more, less = (_widened(of[first:last], cell, width) for of in (up, down))
        for row in range(side):  # of every cell; OpenCV's bytes stop at 0 and 255
            cv2.add(old[:, row], more, dst=new[:, row])
            cv2.subtract(new[:, row], less, dst=new[:, row])
    return out


def _widened(values: Photo, cell: int, width: int) -> NDArray[np.uint8]:
    """Each of values (h, w, 3) `cell` times side by side, as far as `width`: (h, 3 · width)."""
    if cell > 1:
        size = values.shape[1] * cell, values.shape[0]
        values = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_NEAREST), np.uint8)[:, :width]
    return values.reshape(len(values), width * 3)


def _interleaved(noise: NDArray[np.int8]) -> Photo:
    """The positive part of noise (3, h, w): uint8 (h, w, 3)."""
    merged = cv2.merge(list(np.maximum(noise, 0).view(np.uint8)))
    return np.asarray(merged, np.uint8)


@dataclass(frozen=True)
class PhotoNoise:
    """Noise for photographs by a trained network. `config` is that of the final noise; views are `crop` pixels wide."""

    runtime: Runtime
    network: FoldedNetwork
    config: ProtectConfig
    part_cells: int | None = None  # that are crafted together; None for what suits the device

    @functools.cached_property
    def _at_views(self) -> ViewGradient:
        return ViewGradient(self.network, self.config, after_crop(self.config.noise_families))

    @functools.cached_property
    def _filters(self) -> Families:
        """What photographs are seen through before they are cropped."""
        config, filters = self.config, before_crop(self.config.noise_families)
        return Families(((Compressed(config.quality), 1.0), *filters.members)) if config.jpeg_safe else filters

    def __call__(self, photos: Sequence[Photo], labels: Tensor, *where: str | int) -> list[Photo]:
        """The protected photographs; int64 labels (N,) that the noise leads to, or shares of the classes, float
        (N, classes). Random draws depend on `where`.
        """
        noise: dict[int, tuple[NDArray[np.int8], int]] = {}
        for part, numbers in enumerate(self._parts(photos)):
            noise |= self._craft([photos[n] for n in numbers], labels[numbers], numbers, *where, part)
        return [add_cells(photo, *noise[number]) for number, photo in enumerate(photos)]

    def _parts(self, photos: Sequence[Photo]) -> Iterator[list[int]]:
        """Numbers of photographs that fit into the memory together."""
        most = self.part_cells or PART_CELLS.get(self.runtime.device.type, 1 << 24)
        part, cells = list[int](), 0
        for number, photo in enumerate(photos):
            height, width = photo.shape[:2]
            added = height * width // cell_side(height, width, self.config.crop) ** 2
            if part and cells + added > most:
                yield part
                part, cells = [], 0
            part, cells = [*part, number], cells + added
        if part:
            yield part

    def _craft(
        self, photos: list[Photo], labels: Tensor, numbers: list[int], *where: str | int
    ) -> dict[int, tuple[NDArray[np.int8], int]]:
        config = self.config
        generator = self.runtime.generator(config.seed, *where)
        cells = [cell_side(photo.shape[0], photo.shape[1], config.crop) for photo in photos]
        small = [means(photo, cell) for photo, cell in zip(photos, cells, strict=True)]
        groups = self._arrange(small, cells, labels, *where)
        scratch = Scratch(self.runtime.device)
        for step in range(config.steps_u):
            self._step(groups, step, scratch, generator)
        by_number = dict[int, tuple[NDArray[np.int8], int]]()
        for group in groups:
            noise = zip(group.numbers, group.noise(config.rho_u), strict=True)
            by_number |= {numbers[n]: (each, cells[n]) for n, each in noise}
        return by_number

    @functools.cached_property
    def _steps(self) -> WholeSteps:
        return WholeSteps.of(self.config.rho_u, self.config.alpha_u)

    def _arrange(self, small: list[Photo], cells: list[int], labels: Tensor, *where: str | int) -> list[PhotoGroup]:
        """Groups with boxes and random starts, of photographs in cells of so many pixels."""
        random = np.random.default_rng(self.runtime.generator(self.config.seed, "boxes", *where).initial_seed())
        boxes = self._boxes([(photo.shape[0], photo.shape[1]) for photo in small], random)
        groups = list[PhotoGroup]()
        for same in self._alike(small):
            largest = max(small[number].shape[0] for number in same), max(small[number].shape[1] for number in same)
            most = max(1, GROUP_VALUES.get(self.runtime.device.type, 1 << 28) // (3 * largest[0] * largest[1]))
            for numbers in (same[at : at + most] for at in range(0, len(same), most)):
                photos = [small[number] for number in numbers]
                sides, drawn = [cells[number] for number in numbers], np.stack([boxes[n] for n in numbers])
                groups.append(self._group(numbers, photos, sides, labels[numbers], drawn))
                groups[-1].begin(random)
        return groups

    def _alike(self, small: list[Photo]) -> list[list[int]]:
        """Numbers of photographs that a group can hold: those of one shape. On a GPU, where each kernel costs, all that
        have as many draws, those of about one size beside each other; but filters see what lies beside a photograph.
        """
        sizes, mixed = [(photo.shape[0], photo.shape[1]) for photo in small], self._mixed
        groups: dict[object, list[int]] = {}
        for number in sorted(range(len(small)), key=sizes.__getitem__) if mixed else range(len(small)):
            groups.setdefault(draw_factor(*sizes[number]) if mixed else sizes[number], []).append(number)
        return list(groups.values())

    @property
    def _mixed(self) -> bool:
        return on_gpu(self.runtime.device) and not self._filters.members

    def _group(
        self, numbers: list[int], photos: list[Photo], cells: list[int], labels: Tensor, boxes: Boxes
    ) -> PhotoGroup:
        """A group of photographs, with boxes (n, K · J, 5). Beside a smaller one lies black."""
        config, device = self.config, self.runtime.device
        sizes = [(photo.shape[0], photo.shape[1]) for photo in photos]
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        planes = np.zeros((len(photos), height, 3, width), np.uint8)
        for plane, photo in zip(planes, photos, strict=True):
            for channel, values in enumerate(cv2.split(photo)):
                plane[: photo.shape[0], channel, : photo.shape[1]] = values
        grey = (planes == planes[:, :, :1]).all((1, 2, 3)) if config.grey == "keep" else np.zeros(len(planes), bool)
        filtered, scale = None, self._steps.unit
        if self._filters.members:  # as large as they are, but for what the last cell of a row or column has too much
            own = torch.tensor([[height * cell, width * cell] for cell in cells], device=device)
            filtered, scale = Filtered(self._filters, own), 1
        by_step = torch.from_numpy(boxes).to(device).view(len(boxes), config.steps_u, -1, 5)
        return PhotoGroup(
            numbers,
            torch.from_numpy(planes).to(device),
            labels.to(device),
            torch.from_numpy(grey)[:, None, None, None].to(device) if grey.any() else None,
            Crops(by_step, (height, width), config.crop, self.runtime.dtype, scale),
            self._steps,
            filtered,
            sizes,
        )

    def _boxes(self, sizes: list[tuple[int, int]], random: np.random.Generator) -> dict[int, Boxes]:
        """Of each image (K · J, 5). All that have as many draws get theirs together, whatever their sizes."""
        config, boxes = self.config, dict[int, Boxes]()
        factors = [draw_factor(*size) for size in sizes]
        for factor in sorted(set(factors)):
            numbers, draws = [n for n, of in enumerate(factors) if of == factor], config.steps_u * config.draws * factor
            if config.noise_views == ("none",):
                boxes |= {n: np.tile(np.array([0, 0, *sizes[n], 0], np.float32), (draws, 1)) for n in numbers}
            else:
                drawn = even_boxes(np.array([sizes[n] for n in numbers], np.int64), draws, random)
                boxes |= dict(zip(numbers, drawn, strict=True))
        return boxes

    def _step(self, groups: list[PhotoGroup], step: int, scratch: Scratch, generator: torch.Generator) -> None:
        """One signed step of every group."""
        if self._mixed and all(group.crops.draws <= self._together([group]) for group in groups):
            for group in groups:
                self._move(group, step, generator)
            return
        for group, gradient in self._gradients(groups, step, scratch, generator):
            group.descend(gradient)

    def _move(self, group: PhotoGroup, step: int, generator: torch.Generator) -> None:
        """The same of one group, captured."""
        by = group.crops.matrices(step, 0, group.crops.draws)
        given = group.pixels, group.low, group.high, group.grey, group.labels, by.rows, by.columns, by.rows_back
        name, function = ("photographs", self.config), functools.partial(moved, self._steps, self._at_views)
        group.pixels = self.network.graphs(name, function, *given, generator=generator)

    def _together(self, groups: list[PhotoGroup]) -> int:
        """How many draws of all photographs of the groups go through the network at once."""
        each = sum(len(group.numbers) * self.config.crop * 4 * sum(group.size) for group in groups)
        most = FOLD_VALUES.get(self.runtime.device.type, 1 << 28) // each
        return max(1, min(self.runtime.draws_together, most))

    def _gradients(
        self, groups: list[PhotoGroup], step: int, scratch: Scratch, generator: torch.Generator
    ) -> Iterator[tuple[PhotoGroup, Tensor]]:
        """Each group with its gradient (n, h, 3, w) of the loss at perturbed views, summed over the draws of a step.

        A gradient is good until the next one is taken.
        """
        crop, together = self.config.crop, self._together(groups)
        images = [functools.partial(scratch, "images", group.images.shape, self.runtime.dtype) for group in groups]
        sums = [
            torch.empty_like(of()) if group.crops.draws > together else None
            for of, group in zip(images, groups, strict=True)
        ]
        for first in range(0, max(group.crops.draws for group in groups), together):
            taking = [n for n, group in enumerate(groups) if first < group.crops.draws]
            fold = [groups[n].crops.matrices(step, first, together) for n in taking]
            counts = [len(groups[n].numbers) * by.draws for n, by in zip(taking, fold, strict=True)]
            targets = torch.cat(
                [groups[n].labels.repeat_interleave(by.draws, 0) for n, by in zip(taking, fold, strict=True)]
            )
            seen = scratch("seen", (sum(counts), crop, 3, crop), self.runtime.dtype)
            for n, by, part in zip(taking, fold, torch.split(seen, counts), strict=True):
                resample_all(groups[n].values(images[n](), first, generator), by, scratch, part)
            gradient = self._at_views(seen, targets, generator, scratch)
            for n, by, part in zip(taking, fold, torch.split(gradient, counts), strict=True):
                total = sums[n]
                out = images[n]() if total is None else total
                restore_all(part, by, scratch, out, add=first > 0)
                if first + together >= groups[n].crops.draws:
                    yield groups[n], out


def means(photo: Photo, cell: int) -> Photo:
    """The mean of every cell; those at the right and lower edge repeat the last row and column."""
    if cell == 1:
        return photo
    height, width = photo.shape[:2]
    out = np.empty((-(-height // cell), -(-width // cell), 3), np.uint8)
    for rows in _whole_and_rest(height, cell):
        for columns in _whole_and_rest(width, cell):
            piece: NDArray[Any] = photo[rows, columns]
            down, right = -piece.shape[0] % cell, -piece.shape[1] % cell
            if down or right:
                piece = cv2.copyMakeBorder(piece, 0, down, 0, right, cv2.BORDER_REPLICATE)
            size = piece.shape[1] // cell, piece.shape[0] // cell
            top, left = rows.start // cell, columns.start // cell
            out[top : top + size[1], left : left + size[0]] = cv2.resize(piece, size, interpolation=cv2.INTER_AREA)
    return out


def _whole_and_rest(length: int, cell: int) -> list[slice]:
    """Pixels in whole cells, and those of the last cell where it is not whole."""
    whole = length // cell * cell
    return [part for part in (slice(0, whole), slice(whole, length)) if part.start < part.stop]
