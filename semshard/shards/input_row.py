"""A row of the ledger's list of inputs, and its columns as arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .index import SCHEMA

REMOVED = "removed on request"  # how the reason of an input begins that may never be published again
_TOGETHER = 1 << 12  # inputs that are Python objects at once


@dataclass(frozen=True)
class InputRow:
    """The result of the scan of one input."""

    number: int  # in the source's order
    source: str  # relative to the source's root
    sha256: bytes | None  # of the source's bytes; None where they could not be read
    label: int  # −1 where there is none
    height: int  # of the pixels that are protected; 0 for rejects
    width: int
    reason: str  # empty where it is usable
    note: str  # what was done that its owner may not expect
    shard: int = -1  # that it was planned for; −1 where it is not usable, and in ledgers of earlier versions
    place: int = -1  # in that shard
    file: bytes = b""  # where it is read from, as `Location` has it; empty where the file is called as the input is
    offset: int = -1
    size: int = -1  # bytes; −1 where that is not known
    more: str = ""  # JSON; empty where there is none


def was_removed(reason: str) -> bool:
    """Whether an input that has this reason was removed on request."""
    return reason.startswith(REMOVED)


def tables_of(rows: Iterable[InputRow]) -> Iterator[pa.Table]:
    """The rows as tables, a part at a time."""
    every = iter(rows)
    while some := list(itertools.islice(every, _TOGETHER)):
        yield pa.table({name: [getattr(row, name) for row in some] for name in SCHEMA.names}, SCHEMA)


def rows_of(table: pa.Table) -> Iterator[InputRow]:
    """What `tables_of` was given."""
    for batch in table.to_batches(_TOGETHER):
        yield from (InputRow(**row) for row in batch.to_pylist())


def array_of(column: pa.ChunkedArray) -> NDArray[Any]:
    """SHA-256 values as uint8 (N, 32), zero where one is unknown; text as objects; numbers as they are."""
    if pa.types.is_fixed_size_binary(column.type):
        digests = b"".join(value or bytes(32) for value in column.to_pylist()) if column.null_count else None
        whole = column.combine_chunks()
        if digests is None:
            return np.frombuffer(whole.buffers()[1], np.uint8, 32 * len(whole), 32 * whole.offset).reshape(-1, 32)
        return np.frombuffer(digests, np.uint8).reshape(-1, 32)
    if pa.types.is_string(column.type):
        return np.array(column.to_pylist(), object)
    values: NDArray[Any] = column.to_numpy()
    return values
