"""Tables of the ledger as parquet files that are read as a whole or in part, and not where they are damaged.

Every page has a checksum, and who names a file knows its SHA-256 and that of its footer. The footer says where the
pages are, and has the SHA-256 of all of them.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..digests import sha256_if_there
from ..errors import LedgerError
from .damage import damage

_TAIL = 8  # bytes behind the footer: its length, and four letters


@dataclass(frozen=True)
class TableFile:
    """A file of a table, as whoever refers to it knows it."""

    name: str  # within its folder
    rows: int
    sha256: str  # of the file, in hex
    footer: str  # of its footer

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def read(self, folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows. Raises `LedgerError` where the file is missing, or is not this one."""
        path = folder / self.name
        with damage(path, LedgerError):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != self.sha256:
                raise LedgerError(_another(path))
            return pq.ParquetFile(io.BytesIO(data)).read(columns, use_threads=False)

    def take(self, folder: Path, rows: NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """Those rows, in that order; no others are read but their neighbours in a group. Raises as `read` does."""
        path = folder / self.name
        with damage(path, LedgerError), open(path, "rb") as file:
            if _footer(file) != self.footer:
                raise LedgerError(_another(path))
            table = pq.ParquetFile(file, page_checksum_verification=True)
            each = table.metadata.row_group(0).num_rows
            groups = np.unique(rows // each)
            found = table.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
            return found.take(pa.array(np.searchsorted(groups, rows // each) * each + rows % each))

    def is_there(self, folder: Path) -> bool:
        """Whether the file is there, byte for byte."""
        return sha256_if_there(folder / self.name) == self.sha256


def write_table(folder: Path, name: str, table: pa.Table, group: int, before: TableFile | None = None) -> TableFile:
    """Write a table in groups of so many rows that can be read each alone. Where it is the one that is in the file
    `before`, that stays, and no other is written.
    """
    data = table_bytes(table, group)
    file = TableFile(name, len(table), hashlib.sha256(data).hexdigest(), _footer(io.BytesIO(data)))
    if before and before.sha256 == file.sha256 and before.is_there(folder):
        return before
    with atomic_write(folder / name) as out:
        out.write(data)
    return file


def table_bytes(table: pa.Table, group: int) -> bytes:
    """A parquet file; the same table gives the same bytes."""
    data = io.BytesIO()
    text = [field.name for field in table.schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    with pq.ParquetWriter(data, table.schema, use_dictionary=text, write_page_checksum=True) as writer:
        writer.write_table(table, row_group_size=group)
        writer.add_key_value_metadata({"sha256 of the rows": hashlib.sha256(data.getbuffer()).hexdigest()})
    return data.getvalue()


def _footer(file: IO[bytes]) -> str:
    """SHA-256, in hex, of the footer and what follows it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    length = _TAIL + int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - length))
    return hashlib.sha256(file.read()).hexdigest()


def _another(path: Path) -> str:
    return f"{path} is damaged, or is not the file that the ledger wrote; bring it back from a copy of the ledger"
