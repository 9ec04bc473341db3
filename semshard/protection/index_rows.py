"""Between a collection and the ledger's list of its inputs: rows of what was scanned, and inputs again from rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..shards.index import SCHEMA
from ..sources import Collection, Entry, Source
from ..sources.by_rows import ByRows, SourceRow
from ..sources.source import Box, Location

_TOGETHER = 1 << 12  # inputs that are Python objects at once


def tables_of(collection: Collection, plan: Sequence[NDArray[np.int64]]) -> Iterator[pa.Table]:
    """The rows of all inputs of a collection that was scanned, and of its plan, a part at a time."""
    count = len(collection.source)
    shards, places = (np.full(count, -1, np.int32) for _ in range(2))
    for shard, numbers in enumerate(plan):
        shards[numbers], places[numbers] = shard, np.arange(len(numbers))
    for first in range(0, count, _TOGETHER):
        numbers = np.arange(first, min(first + _TOGETHER, count))
        here = slice(first, first + len(numbers))
        known = collection.sha256[here].any(1)
        columns = {
            "number": numbers,
            "sha256": pa.array(
                [row.tobytes() for row in collection.sha256[here]], pa.binary(32), mask=np.logical_not(known)
            ),
            "label": collection.labels[here],
            "height": collection.sizes[here, 0],
            "width": collection.sizes[here, 1],
            "reason": [collection.rejects.get(number, "") for number in numbers.tolist()],
            "note": [collection.notes.get(number, "") for number in numbers.tolist()],
            "shard": shards[here],
            "place": places[here],
            **_located(collection.source, numbers.tolist(), collection.lengths[here].tolist()),
        }
        yield pa.table({name: columns[name] for name in SCHEMA.names}, SCHEMA)


def where(source: Source, number: int, size: int = -1) -> dict[str, Any]:
    """Name and place of an input of a source, as fields of `InputRow`; `size` are the bytes that were read of it."""
    entry, location = source.entry(number), source.location(number)
    more = {**location.more, **({"box": entry.box} if entry.box else {})}
    return {
        "source": entry.name,
        "file": b"" if location.file == entry.name else location.file.encode("utf-8", "surrogateescape"),
        "offset": location.offset,
        "size": location.size if location.size >= 0 else size,
        "more": json.dumps(more) if more else "",
    }


def source_of(about: Mapping[str, Any], table: pa.Table) -> ByRows:
    """The inputs of those rows, numbered from 0; `about` as the ledger has it. Raises `SourceError`."""
    names = ("source", "label", "reason", "file", "offset", "size", "more")
    columns = (table[name].to_pylist() for name in names)
    is_labelled = bool(about["classes"])
    return ByRows(about, [_source_row(is_labelled, *row) for row in zip(*columns, strict=True)])


def _source_row(
    is_labelled: bool, name: str, label: int, reason: str, file: bytes, offset: int, size: int, more: str
) -> SourceRow:
    others = json.loads(more) if more else {}
    box: Box | None = tuple(others.pop("box")) if "box" in others else None
    place = file.decode("utf-8", "surrogateescape") if file else name
    entry = Entry(name, label if is_labelled and label >= 0 else None, reason, box)
    return SourceRow(entry, Location(place, offset, size, others))


def _located(source: Source, numbers: Sequence[int], sizes: Sequence[int]) -> dict[str, list[Any]]:
    """The columns of names, and of where inputs are."""
    rows = [where(source, number, size) for number, size in zip(numbers, sizes, strict=True)]
    return {key: [row[key] for row in rows] for key in ("source", "file", "offset", "size", "more")}
