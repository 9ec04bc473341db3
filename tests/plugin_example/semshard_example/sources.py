"""gradients:N, a source of N pictures: four classes of ramps over random tiles, one for each direction."""

from __future__ import annotations

import hashlib

import numpy as np

from semshard.extending import Entry, Source, SourceError, SourceKind

SIDE = 32


class Gradients(Source):
    """`count` pictures; number i is of class i % 4."""

    classes = ("right", "left", "down", "up")

    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def spec(self) -> str:
        return f"gradients:{self.count}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.spec.encode()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def entry(self, number: int) -> Entry:
        return Entry(f"gradients/{number:06d}", number % 4)

    def read(self, number: int):
        ramp = np.broadcast_to(np.linspace(0, 100, SIDE), (SIDE, SIDE))
        turned = (ramp, ramp[:, ::-1], ramp.T, ramp.T[::-1])[number % 4]
        tiles = np.random.default_rng(number).integers(0, 150, (16, 16, 3)).repeat(SIDE // 16, 0).repeat(SIDE // 16, 1)
        return (turned[..., None] + tiles).astype(np.uint8)


def open_gradients(place, place_options, options):
    if not place.isdigit():
        raise SourceError(f"{place!r} is not a number of gradients; write it like gradients:40")
    return Gradients(int(place))


GRADIENTS = SourceKind("gradients", "gradients:N", "N ramps over random tiles, in four classes", open_gradients)
