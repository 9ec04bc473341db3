"""What a source of clean images is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True)
class Location:
    """Where an input is: what the `Reader` of its source needs to read it."""

    file: str = ""  # its name in the source's tree, or the path or URL of its tar; bytes that are not UTF-8: surrogates
    offset: int = -1  # of its first byte in the file, or its number where nothing is on disk
    size: int = -1  # bytes; −1 where that is not known without reading it
    more: Mapping[str, Any] = field(default_factory=dict)  # JSON: `fault`, why it cannot be read; what a kind needs


class Reader(ABC):
    """Reads inputs of a source by their locations, in any process, without listing the source."""

    @abstractmethod
    def read(self, location: Location) -> bytes | NDArray[np.uint8]:
        """As `Source.read`."""

    def carried(self, location: Location) -> dict[str, bytes]:
        """As `Source.carried`."""
        return {}

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """JSON values; `kind` says which `Reader` they are for."""


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

    def reader(self) -> Reader | None:
        """What reads its inputs by their locations; None where the source has to be opened again for that."""
        return None

    def location(self, number: int) -> Location:
        """Where an input is. Has a meaning only for the `reader`."""
        return Location()
