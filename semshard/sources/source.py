"""What a source of clean images is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Entry:
    """One input, known without decoding it."""

    name: str  # unique within the source, relative, with forward slashes
    label: int | None  # index into the source's classes; None where it has none


@dataclass(frozen=True)
class Loaded:
    """One decoded input."""

    pixels: NDArray[np.uint8]  # (H, W, 3) RGB
    sha256: str  # of the bytes it was decoded from


class Source(Protocol):
    """Clean images by number, in an order that depends on their names only."""

    @property
    def spec(self) -> str:
        """The text that opens this source again."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""

    @property
    def digest(self) -> str:
        """SHA-256 over the names and labels of all entries, found without reading an image."""

    def __len__(self) -> int: ...

    def entry(self, number: int) -> Entry: ...

    def load(self, number: int) -> Loaded:
        """Decode one input. Raises `RejectedImage` with the reason where that cannot be done."""
