"""What a source of clean images is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the upright picture


@dataclass(frozen=True)
class Entry:
    """One input, known without reading it."""

    name: str  # unique within the source, relative, with forward slashes
    label: int | None  # index into the source's classes; None where it has none
    reason: str = ""  # why it cannot be used, where that is known without reading it
    box: Box | None = None  # the part that is used; None for all of it


class Source(ABC):
    """Clean images by number, in an order that depends on their names only.

    An index of names, at most 500 bytes per input; pictures are read when they are needed, by several threads.
    """

    classes: tuple[str, ...] = ()  # class names; a label is an index into them; empty where nothing is labelled
    remarks: tuple[str, ...] = ()  # what the owner should know of the source, a sentence each
    folders: tuple[str, ...] = ()  # on this machine that it reads from
    fields: tuple[str, ...] = ()  # extensions of `carried`, of all samples together, sorted
    pixels_in_parts: bool = False  # whether a part holds the pixels of its inputs

    @property
    @abstractmethod
    def spec(self) -> str:
        """The text that opens this source again."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256, in hex, over the names, labels, reasons and boxes of all entries; no image is read for it."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def entry(self, number: int) -> Entry: ...

    @abstractmethod
    def read(self, number: int) -> bytes | NDArray[np.uint8]:
        """The encoded picture file; or pixels (H, W, 3) RGB where the source holds no files.

        Raises `RejectedImage` with the reason where it cannot be read.
        """

    @property
    def shards(self) -> list[range] | None:
        """The numbers of the inputs of each output shard, where the source comes in shards of its own."""
        return None

    def carried(self, number: int) -> dict[str, bytes]:
        """Other fields of the sample, by extension, that go into the published sample as they are."""
        return {}

    def part(self, numbers: Sequence[int]) -> Source | None:
        """A source of those inputs alone, numbered from 0, that can be pickled and read by another process of this
        machine while this one lives; spec, digest, classes and fields are those of the whole. It holds what is needed
        to read the inputs; their pixels only where `pixels_in_parts` says so.

        None where only this process can read them.
        """
        return None
