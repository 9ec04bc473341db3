"""The parquet file of a shard: its rows, and nothing besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from ..errors import ShardError
from ..shards import damage
from ..shards.writer import COLUMNS
from .failure import Fail

_SCHEMA = b"ARROW:schema"  # the one thing that a parquet file of ours says besides its rows


class Row(NamedTuple):
    """What the parquet file says of a sample."""

    label: int
    name: str  # of the class
    width: int
    height: int
    linf: int
    sha256: str


def read_rows(path: Path, entry: dict[str, Any], fail: Fail) -> dict[str, Row]:
    """The rows of a parquet file by key, checked against the `entry` of its shard in the manifest."""
    try:
        with damage(path.name), pq.ParquetFile(path) as file:
            _check_form(path, file, entry, fail)
            if file.metadata.num_rows > 2 * entry["samples"] + 1:
                return {}  # reported above; not worth the memory
            keys, *columns = (column.to_pylist() for column in file.read(use_threads=False).columns)
            by_key = dict(zip(keys, map(Row._make, zip(*columns, strict=True)), strict=True))
            if len(by_key) != len(keys) or list(by_key) != sorted(by_key):
                fail(path.name, "its keys are not in order, each once")
            largest = max((row.linf for row in by_key.values()), default=0)
    except ShardError as error:
        fail(path.name, str(error).removeprefix(f"{path.name} "))
        return {}
    if largest != entry["linf_max"]:
        fail(path.name, f"its largest linf is {largest}, the manifest says {entry['linf_max']}")
    return by_key


def _check_form(path: Path, file: pq.ParquetFile, entry: dict[str, Any], fail: Fail) -> None:
    schema, rows, more = file.schema_arrow, file.metadata.num_rows, set(file.metadata.metadata or {}) - {_SCHEMA}
    if not schema.equals(COLUMNS):
        raise ShardError(f"has columns {schema.names}, expected {COLUMNS.names}, each of its type")
    if rows != entry["samples"]:
        fail(path.name, f"holds {rows} rows, the manifest says {entry['samples']} samples")
    if more:
        fail(path.name, f"holds more than its rows: {sorted(more)}")
