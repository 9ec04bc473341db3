"""The inputs of a source in the order of a given list of names: numbers that a ledger has given stay what they are when
files are added to the source or vanish from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage
from .source import Entry, Location, Reader, Source

VANISHED = "vanished"


class InOrder(Source):
    """Input n is the input of `source` called `names[n]`; one that the source no longer has cannot be read. The source
    may have others: they have no number here.
    """

    def __init__(self, source: Source, names: Sequence[str]) -> None:
        at = {source.entry(number).name: number for number in range(len(source))}
        self._set(source, names, [at.get(name, -1) for name in names])

    def _set(self, source: Source, names: Sequence[str], at: Sequence[int]) -> None:
        self._source, self._names = source, names
        self._at: NDArray[np.int64] = np.array(at, np.int64)
        self.classes, self.fields, self.folders = source.classes, source.fields, source.folders
        self.pixels_in_parts = source.pixels_in_parts

    @property
    def spec(self) -> str:
        return self._source.spec

    @property
    def digest(self) -> str:
        return self._source.digest

    def __len__(self) -> int:
        return len(self._names)

    def entry(self, number: int) -> Entry:
        at = int(self._at[number])
        return self._source.entry(at) if at >= 0 else Entry(self._names[number], None, VANISHED)

    def read(self, number: int) -> bytes | NDArray[np.uint8]:
        return self._source.read(self._place(number))

    def carried(self, number: int) -> dict[str, bytes]:
        return self._source.carried(self._place(number))

    def _place(self, number: int) -> int:
        """The number in the source. Raises `RejectedImage` where it has no such input."""
        if self._at[number] < 0:
            raise RejectedImage(VANISHED)
        return int(self._at[number])

    def part(self, numbers: Sequence[int]) -> InOrder | None:
        present = [number for number in numbers if self._at[number] >= 0]
        inner = self._source.part([int(self._at[number]) for number in present])
        if inner is None:
            return None
        at = {number: place for place, number in enumerate(present)}
        part = InOrder.__new__(InOrder)
        part._set(inner, [self._names[number] for number in numbers], [at.get(number, -1) for number in numbers])
        return part

    def reader(self) -> Reader | None:
        return self._source.reader()

    def location(self, number: int) -> Location:
        at = int(self._at[number])
        return self._source.location(at) if at >= 0 else Location(more={"fault": VANISHED})
