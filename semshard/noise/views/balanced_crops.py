"""Boxes that cover a photograph evenly: random resized crops of the usual shapes, where the coverage is lowest.

A crop placed at random seldom reaches a corner, and a few dozen of them leave corners uncovered. Here a box takes, of
some random places, the one whose pixels have been covered least so far.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .resized_crop import AREA, RATIO, TRIES

CELLS = 16  # coverage is counted on a grid of this many cells per side
PLACES = 24  # that a box chooses from

Boxes = NDArray[np.float32]  # (…, 5): top, left, height, width, and 1 where it is mirrored


def even_boxes(sizes: NDArray[np.int64], draws: int, random: np.random.Generator) -> Boxes:
    """Float (N, draws, 5) boxes for images of `sizes` (N, 2), heights and widths, in whole pixels.

    Areas and aspect ratios are those of torchvision's RandomResizedCrop: uniform in `AREA`, log-uniform in `RATIO`,
    the first of `TRIES` that fits; where none does, as in extreme formats, the last is trimmed to the image.
    """
    count = len(sizes)
    covered = np.zeros((count, CELLS, CELLS))
    boxes = np.empty((count, draws, 5), np.float32)
    full = sizes.astype(np.float64)
    for number in range(draws):
        box = _box(full, random)
        # Centres all over the image, moved inwards where the box would stick out: edges are as likely as the rest.
        centre = random.uniform(0, 1, (count, PLACES, 2)) * full[:, None]
        start = np.clip(centre - box[:, None] / 2, 0, (full - box)[:, None]).round()
        inside = _inside(start / full[:, None], (start + box[:, None]) / full[:, None])
        load = np.einsum("npi,npj,nij->np", inside[0], inside[1], covered) / (inside[0].sum(2) * inside[1].sum(2))
        best = load.argmin(1)
        rows, columns = (each[np.arange(count), best] for each in inside)
        covered += rows[:, :, None] * columns[:, None, :]
        boxes[:, number, :2] = start[np.arange(count), best]
        boxes[:, number, 2:4] = box
    boxes[:, :, 4] = random.uniform(0, 1, (count, draws)) < 0.5
    return boxes


def _box(full: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Height and width of a random box for each image, (N, 2)."""
    area = random.uniform(*AREA, (len(full), TRIES)) * full.prod(1)[:, None]
    ratio = np.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1]), (len(full), TRIES)))
    tries = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)], 2).round()  # (N, TRIES, 2)
    fits = np.all((tries >= 1) & (tries <= full[:, None]), axis=2)
    fits[:, -1] = True
    box: NDArray[np.float64] = tries[np.arange(len(full)), fits.argmax(1)].clip(1, full)
    return box


def _inside(start: NDArray[np.float64], end: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How much of each row and column of cells lies between shares (N, P, 2) of an image: two of (N, P, CELLS)."""
    edge = np.arange(CELLS)
    shares = np.clip(np.minimum(end[..., None] * CELLS, edge + 1) - np.maximum(start[..., None] * CELLS, edge), 0, 1)
    return shares[:, :, 0], shares[:, :, 1]
