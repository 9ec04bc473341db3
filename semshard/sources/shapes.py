"""The embedded default: pictures of ten shapes, drawn from a seed, free of any licence.

Each picture is one shape of random size, turn, place and colour over smooth coloured noise. A shape is its signed
distance function (negative inside), evaluated at every pixel centre; the edge is one pixel wide, so it is smooth.
Picture `i` depends on (seed, i) alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .source import Entry, Location, Reader, Source

SIDE = 32
GROUND = 0.475  # contrast of the background noise
SIZE = (0.235, 0.42)  # radius of a shape, as a share of the side
CONTRAST = 0.31  # least distance, in one channel, of a shape from the mean of its background
Plane = NDArray[np.float64]


def _both(a: Plane, b: Plane) -> Plane:
    """Inside a and inside b."""
    inside: Plane = np.maximum(a, b)
    return inside


def _union(a: Plane, b: Plane) -> Plane:
    """Inside a or inside b."""
    inside: Plane = np.minimum(a, b)
    return inside


def _disc(x: Plane, y: Plane) -> Plane:
    return np.hypot(x, y) - 1


def _square(x: Plane, y: Plane) -> Plane:
    return _both(abs(x), abs(y)) - 0.85


def _polygon(x: Plane, y: Plane, sides: int, inner: float) -> Plane:
    """Distance to a regular polygon whose sides lie `inner` from the centre."""
    sector = 2 * np.pi / sides
    angle = np.mod(np.arctan2(y, x) + sector / 2, sector) - sector / 2
    distance: Plane = np.hypot(x, y) * np.cos(angle) - inner
    return distance


def _triangle(x: Plane, y: Plane) -> Plane:
    return _polygon(x, y, 3, 0.55)


def _star(x: Plane, y: Plane) -> Plane:
    angle = np.abs(np.mod(np.arctan2(y, x), 2 * np.pi / 5) - np.pi / 5)  # 0 in the notch, π/5 at the tip
    radius = np.hypot(x, y)
    notch, tip = np.array([0.42, 0.0]), 1.1 * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    edge = (tip - notch) / np.hypot(*(tip - notch))
    distance: Plane = (radius * np.cos(angle) - notch[0]) * edge[1] - radius * np.sin(angle) * edge[0]
    return distance


def _cross(x: Plane, y: Plane) -> Plane:
    arm = _both(abs(x) - 1, abs(y) - 0.32)
    return _union(arm, _both(abs(x) - 0.32, abs(y) - 1))


def _ring(x: Plane, y: Plane) -> Plane:
    return abs(np.hypot(x, y) - 0.78) - 0.22


def _crescent(x: Plane, y: Plane) -> Plane:
    return _both(np.hypot(x, y) - 1, 0.85 - np.hypot(x - 0.5, y))


def _nut(x: Plane, y: Plane) -> Plane:
    return _both(_polygon(x, y, 6, 0.9), 0.42 - np.hypot(x, y))


def _bars(x: Plane, y: Plane) -> Plane:
    stripe = abs(np.mod(x + 0.325, 0.65) - 0.325) - 0.17
    return _both(stripe, _both(abs(x) - 0.9, abs(y) - 0.9))


def _sector(x: Plane, y: Plane) -> Plane:
    x = x + 0.75  # the tip
    return _both(np.hypot(x, y) - 1.6, abs(y) * np.cos(0.65) - x * np.sin(0.65))


SHAPES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "disc": _disc, "square": _square, "triangle": _triangle, "star": _star, "cross": _cross,
    "ring": _ring, "crescent": _crescent, "nut": _nut, "bars": _bars, "sector": _sector,
}  # fmt: skip
CLASSES = tuple(SHAPES)


def draw_shape(number: int, seed: int = 0) -> NDArray[np.uint8]:
    """Picture `number`, uint8 (32, 32, 3) RGB; its class is `CLASSES[number % 10]`."""
    random = np.random.Generator(np.random.PCG64([seed, number]))
    coarse = random.uniform(0, 1, (5, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    ground = random.uniform(0.25, 0.75, 3) + GROUND * (smooth - 0.5)
    size = random.uniform(*SIZE) * SIDE
    turn = random.uniform(0, 2 * np.pi)
    place = random.uniform(0.85 * size, SIDE - 0.85 * size, 2)
    colour = random.uniform(0, 1, 3)
    while np.abs(colour - ground.mean((0, 1))).max() < CONTRAST:
        colour = random.uniform(0, 1, 3)

    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5
    x, y = (column - place[0]) / size, (row - place[1]) / size
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    cover = np.clip(0.5 - SHAPES[CLASSES[number % len(CLASSES)]](x, y) * size, 0, 1)[..., None]
    picture = ground * (1 - cover) + colour * cover + random.normal(0, 0.03, (SIDE, SIDE, 3))
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def write_shapes(folder: Path, count: int, seed: int = 0) -> None:
    """Write pictures 0 to `count` − 1 as `folder`/CLASS/NNNNNNN.png."""
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / CLASSES[number % len(CLASSES)] / f"{number:07d}.png"
        Image.fromarray(draw_shape(number, seed)).save(path)


@dataclass(frozen=True)
class Shapes(Source):
    """`count` drawn pictures as a source; nothing is on disk."""

    count: int
    seed: int = 0
    chosen: tuple[int, ...] | None = None  # of a part: the numbers of its pictures

    classes = CLASSES

    @property
    def spec(self) -> str:
        return f"shapes:{self.count}"

    def __len__(self) -> int:
        return self.count if self.chosen is None else len(self.chosen)

    def entry(self, number: int) -> Entry:
        number = self._number(number)
        return Entry(f"shapes/{number:07d}", number % len(CLASSES))

    def read(self, number: int) -> NDArray[np.uint8]:
        return draw_shape(self._number(number), self.seed)

    def part(self, numbers: Sequence[int]) -> Shapes:
        return Shapes(self.count, self.seed, tuple(map(self._number, numbers)))

    def _number(self, number: int) -> int:
        return number if self.chosen is None else self.chosen[number]

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.spec} {self.seed}".encode()).hexdigest()

    def reader(self) -> Reader:
        return ShapesReader(self.seed)

    def location(self, number: int) -> Location:
        return Location(offset=self._number(number))


@dataclass(frozen=True)
class ShapesReader(Reader):
    """Draws pictures by their numbers; a location has the number as its offset."""

    seed: int = 0

    def read(self, location: Location) -> NDArray[np.uint8]:
        return draw_shape(location.offset, self.seed)

    def to_json(self) -> dict[str, Any]:
        return {"kind": "shapes", "seed": self.seed}
