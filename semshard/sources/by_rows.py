"""Any inputs of a source by the rows that an index has of them: nothing is listed, and no other row is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage
from .source import Entry, Location, Reader, Source


@dataclass(frozen=True)
class SourceRow:
    """An input as an index has it."""

    entry: Entry
    location: Location


class ByRows(Source):
    """The inputs of `rows`, numbered from 0; `about` is what `about_source` said of the source that they are of.

    Spec, digest, classes and fields are those of the whole source. Raises `SourceError` where its place is gone.
    """

    def __init__(self, about: Mapping[str, Any], rows: Sequence[SourceRow]) -> None:
        self._set(about, _reader(about["reader"]), rows)

    def _set(self, about: Mapping[str, Any], reader: Reader, rows: Sequence[SourceRow]) -> None:
        self._about, self._reader, self._rows = about, reader, rows
        self.classes, self.fields = tuple(about["classes"]), tuple(about["fields"])

    @property
    def spec(self) -> str:
        return str(self._about["spec"])

    @property
    def digest(self) -> str:
        return str(self._about["digest"])

    def __len__(self) -> int:
        return len(self._rows)

    def entry(self, number: int) -> Entry:
        return self._rows[number].entry

    def read(self, number: int) -> bytes | NDArray[np.uint8]:
        location = self.location(number)
        if fault := location.more.get("fault"):
            raise RejectedImage(fault)
        return self._reader.read(location)

    def carried(self, number: int) -> dict[str, bytes]:
        return self._reader.carried(self.location(number))

    def part(self, numbers: Sequence[int]) -> ByRows:
        part = ByRows.__new__(ByRows)
        part._set(self._about, self._reader, [self._rows[number] for number in numbers])
        return part

    def reader(self) -> Reader:
        return self._reader

    def location(self, number: int) -> Location:
        return self._rows[number].location


def about_source(source: Source) -> dict[str, Any] | None:
    """What all rows of a source have in common, as JSON values; None where it has to be opened again to read any."""
    reader = source.reader()
    if reader is None:
        return None
    return {
        "reader": reader.to_json(), "spec": source.spec, "digest": source.digest, "classes": list(source.classes),
        "fields": list(source.fields),
    }  # fmt: skip


def _reader(about: Mapping[str, Any]) -> Reader:
    from .shapes import ShapesReader
    from .tar_reader import TarReader
    from .tree_reader import TreeReader

    kinds: dict[str, Callable[..., Reader]] = {"tree": TreeReader, "tars": TarReader, "shapes": ShapesReader}
    return kinds[about["kind"]](**{name: value for name, value in about.items() if name != "kind"})
