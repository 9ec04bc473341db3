"""Defensive noise for photographs at their own resolution (Eqs. 6 and 10, with T as it is for photographs).

Victims see photographs through random resized crops. The smallest of these has `AREA[0]` of the pixels, and a pixel of
any view covers at least the short side of that crop / `crop` of the photograph's pixels per side; no victim sees finer
noise. A photograph is therefore crafted on cells of that many pixels per side: 1 for a photograph less than twice as
large as the closest crop, more for large ones. The gradients of a cell's pixels hardly differ, so this is close to
descent on every pixel, at a cost that does not grow with the camera.

The cells of all photographs of a part lie in one flat tensor, which is what the one PGD loop works on.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..settings import ProtectConfig
from .adversary import inner_perturbation
from .ball import pgd, to_levels, uniform
from .views import Families, families_of
from .views.balanced_crops import even_boxes
from .views.jpeg import Jpeg
from .views.resized_crop import AREA, RATIO, Resampling, box_resampling, resample, restore

Photo = NDArray[np.uint8]  # (H, W, 3) RGB
PART_CELLS = {
    "cpu": 1 << 19,
    "cuda": 1 << 24,
}  # crafted together: what fits into the caches of a CPU; some gigabytes on a GPU
FOLD_VALUES = {"cpu": 1 << 25, "cuda": 1 << 28}  # of matrices and strips of the draws that are computed together
MOST_FACTOR = 32  # times the usual draws; enough for formats of 800:1
BAND_PIXELS = 1 << 22  # that noise is added to at once


def cell_side(height: int, width: int, crop: int) -> int:
    """Pixels per side of a cell of a photograph whose views are `crop` pixels wide."""
    closest = min(math.sqrt(AREA[0] * RATIO[0] * height * width), height, width)  # short side of the smallest crop
    return max(1, int(closest / crop))


def draw_factor(height: int, width: int) -> int:
    """How many times the usual draws a photograph gets: a crop covers little of a very long one."""
    return min(MOST_FACTOR, max(1, round(max(height, width) / min(height, width) / RATIO[1])))


def add_cells(photo: Photo, noise: NDArray[np.int8], cell: int, band_pixels: int = BAND_PIXELS) -> Photo:
    """The protected photograph: int8 noise (3, h, w) in grey levels, one value per cell, added and clipped to 0..255.

    About `band_pixels` are computed at once, so that large photographs need little memory besides the result.
    """
    height, width = photo.shape[:2]
    out = np.empty_like(photo)
    rows = max(1, band_pixels // (width * cell)) * cell
    planes = noise.transpose(1, 2, 0)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = planes[top // cell : -(-bottom // cell)]
        band = band.repeat(cell, 0).repeat(cell, 1)[: bottom - top, :width] if cell > 1 else band
        out[top:bottom] = np.clip(photo[top:bottom].astype(np.int16) + band, 0, 255)
    return out


@dataclass(frozen=True)
class ShapeGroup:
    """Photographs whose cells have the same shape, side by side in the flat tensor."""

    numbers: list[int]  # of the photographs, in their batch
    size: tuple[int, int]  # height, width, in cells
    at: slice  # in the flat tensor
    boxes: Tensor  # float (n, K · J, 5), in cells
    grey: Tensor  # bool (n, 1, 1, 1)

    def of(self, flat: Tensor) -> Tensor:
        """Their images (n, 3, h, w)."""
        return flat[self.at].view(len(self.numbers), 3, *self.size)


@dataclass(frozen=True)
class PhotoNoise:
    """Noise for photographs by a trained network. `config` is that of the final noise; views are `crop` pixels wide."""

    runtime: Runtime
    network: FoldedNetwork
    config: ProtectConfig
    part_cells: int | None = None  # that are crafted together; None for what suits the device

    @functools.cached_property
    def _families(self) -> Families:
        return families_of(self.config.noise_families)

    def __call__(self, photos: Sequence[Photo], labels: Tensor, *where: str | int) -> list[Photo]:
        """The protected photographs; int64 labels (N,) that the noise leads to. Random draws depend on `where`."""
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
        config, device = self.config, self.runtime.device
        generator = self.runtime.generator(config.seed, *where)
        cells = [cell_side(photo.shape[0], photo.shape[1], config.crop) for photo in photos]
        small = [means(photo, cell) for photo, cell in zip(photos, cells, strict=True)]
        groups, x = self._arrange(small, config, *where)
        labels = torch.cat([labels[group.numbers] for group in groups]).to(device)
        steps = iter(range(config.steps_u))
        delta = pgd(
            lambda delta: self._gradient(groups, x + delta, labels, next(steps), generator),
            x,
            self._grey(groups, uniform(x, config.rho_u, generator)),
            rho=config.rho_u,
            alpha=config.alpha_u,
            steps=config.steps_u,
            direction="minimise",
        )
        levels = to_levels(delta, config.rho_u).cpu()
        by_number = {}
        for group in groups:
            for place, noise in zip(group.numbers, group.of(levels), strict=True):
                by_number[numbers[place]] = noise.numpy(), cells[place]
        return by_number

    def _arrange(self, small: list[Photo], config: ProtectConfig, *where: str | int) -> tuple[list[ShapeGroup], Tensor]:
        """Groups of equal shape, and all their cells in one float tensor, in [0, 1]."""
        shapes: dict[tuple[int, int], list[int]] = {}
        for number, photo in enumerate(small):
            shapes.setdefault((photo.shape[0], photo.shape[1]), []).append(number)
        seeds = self.runtime.generator(config.seed, "boxes", *where)
        random = np.random.default_rng(seeds.initial_seed())
        groups, planes, at = list[ShapeGroup](), list[Tensor](), 0
        for size, numbers in shapes.items():
            stack = np.stack([small[number] for number in numbers]).transpose(0, 3, 1, 2)
            grey = (stack == stack[:, :1]).all((1, 2, 3)) if config.grey == "keep" else np.zeros(len(stack), bool)
            planes.append(torch.from_numpy(np.ascontiguousarray(stack)).flatten())
            boxes = torch.from_numpy(self._boxes(size, len(numbers), random))
            mask = torch.from_numpy(grey)[:, None, None, None]
            device = self.runtime.device
            groups.append(ShapeGroup(numbers, size, slice(at, at + stack.size), boxes.to(device), mask.to(device)))
            at += stack.size
        return groups, torch.cat(planes).to(self.runtime.device).float() / 255

    def _boxes(self, size: tuple[int, int], count: int, random: np.random.Generator) -> NDArray[np.float32]:
        config = self.config
        draws = config.steps_u * config.draws * draw_factor(*size)
        if config.noise_views == ("none",):
            return np.tile(np.array([0, 0, *size, 0], np.float32), (count, draws, 1))
        return even_boxes(np.array([size] * count, np.int64), draws, random)

    def _gradient(
        self, groups: list[ShapeGroup], x: Tensor, labels: Tensor, step: int, generator: torch.Generator
    ) -> Tensor:
        """The gradient at all cells of the loss at perturbed views, summed over the draws of this step."""
        total = torch.zeros_like(x)
        pictures = [group.of(x) for group in groups]
        if self.config.jpeg_safe:
            jpeg = Jpeg(self.config.quality, "4:2:0")
            coded = [jpeg.apply(picture) for picture in pictures]
            pictures = [decoded for decoded, _ in coded]
        group_labels = torch.split(labels, [len(group.numbers) for group in groups])
        draws = [self._draws(group) for group in groups]
        each = sum(len(group.numbers) * self.config.crop * 4 * sum(group.size) for group in groups)
        together = max(1, min(self.runtime.draws_together, FOLD_VALUES.get(x.device.type, 1 << 28) // each))
        for first in range(0, max(draws), together):
            fold = range(first, first + together)
            crops = [(n, self._view(groups[n], step, j)) for n, most in enumerate(draws) for j in fold if j < most]
            seen = torch.cat([resample(pictures[n], view) for n, view in crops])
            params = self._families.draw(seen, generator)
            mapped, targets = self._families.apply(seen, params), torch.cat([group_labels[n] for n, _ in crops])
            gradient = self._families.adjoint(self._seen_gradient(mapped, targets, generator), params)
            parts = torch.split(gradient, [len(groups[n].numbers) for n, _ in crops])
            for (n, view), part in zip(crops, parts, strict=True):
                groups[n].of(total).add_(restore(part, view))
        if self.config.jpeg_safe:
            for group, (_, saved) in zip(groups, coded, strict=True):
                group.of(total).copy_(jpeg.adjoint(group.of(total), saved))
        return self._grey(groups, total)

    def _seen_gradient(self, seen: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        perturbation = inner_perturbation(self.config.noise_step, self.config)
        start = perturbation.start(seen, generator)
        perturbed = seen + perturbation.ascend(self.network, seen, labels, start)
        gradient = self.network.gradient(perturbed.clamp(0, 1), labels)
        return gradient * ((perturbed >= 0) & (perturbed <= 1))  # clipped pixels have none

    def _draws(self, group: ShapeGroup) -> int:
        return group.boxes.shape[1] // self.config.steps_u

    def _view(self, group: ShapeGroup, step: int, draw: int) -> Resampling:
        number = step * self._draws(group) + draw
        top, left, height, width, flip = group.boxes[:, number].unbind(1)
        return box_resampling((top, left, height, width), flip > 0, group.size, self.config.crop)

    @staticmethod
    def _grey(groups: list[ShapeGroup], flat: Tensor) -> Tensor:
        """`flat`, the same in all channels of the photographs whose noise has to stay grey."""
        for group in groups:
            if group.grey.any():
                images = group.of(flat)
                images.copy_(torch.where(group.grey, images.mean(1, keepdim=True), images))
        return flat


def means(photo: Photo, cell: int) -> Photo:
    """The mean of every cell; those at the right and lower edge repeat the last row and column."""
    if cell == 1:
        return photo
    height, width = photo.shape[:2]
    down, right = -height % cell, -width % cell
    whole = cv2.copyMakeBorder(photo, 0, down, 0, right, cv2.BORDER_REPLICATE) if down or right else photo
    size = (width + right) // cell, (height + down) // cell
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)
