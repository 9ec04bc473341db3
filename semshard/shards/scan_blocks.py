"""What a scan has found so far, in the ledger: its finished blocks, so that a scan that was killed goes on from them.

`scan/BBBBB.parquet` has the rows of 65,536 inputs. It is the mark that they are scanned: for the same listing of the
source and the same settings of how pictures are read, whose fingerprint is in it, and for no others. A file that is
damaged or of another scan is not used, and its inputs are scanned again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import atomic_write
from ..errors import LedgerError
from ..sources.scanning import ScannedBlock
from .damage import damage
from .index import BLOCK, GROUP, SCAN
from .table_file import table_bytes

_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("sha256", pa.binary(32)),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("size", pa.int64()),
        ("digest", pa.binary(16)),  # of the pixels
        ("reason", pa.string()),
        ("note", pa.string()),
    ]
)


class ScanBlocks:
    """The finished blocks of a scan in the folder of a ledger; `about` is what they depend on, as JSON values. `saved`
    hears of every block that was written.
    """

    def __init__(
        self,
        ledger: Path,
        about: Mapping[str, Any],
        size: int = BLOCK,
        saved: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self._folder, self.size, self._saved = ledger / SCAN, size, saved
        self._fingerprint = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def load(self, block: int, numbers: Sequence[int]) -> ScannedBlock | None:
        """What was found of the inputs with those numbers; None where that is not known."""
        path = self._folder / f"{block:05d}.parquet"
        try:
            with damage(path, LedgerError):
                table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
                mark = (table.schema.metadata or {}).get(self._fingerprint.encode())
                found = _found(table.replace_schema_metadata(None))
                if mark != _mark(found) or not np.array_equal(found.numbers, numbers):
                    return None
                return found
        except LedgerError:
            return None

    def save(self, block: int, found: ScannedBlock) -> None:
        """Keep a block. Raises `RunError` where the disk is full."""
        self._folder.mkdir(exist_ok=True)
        table = _table(found).replace_schema_metadata({self._fingerprint: _mark(found)})
        path = self._folder / f"{block:05d}.parquet"
        with atomic_write(path) as file:
            file.write(table_bytes(table, GROUP))
        self._saved(path)


def _table(found: ScannedBlock) -> pa.Table:
    numbers = np.asarray(found.numbers, np.int64)
    columns = {
        "number": pa.array(numbers),
        "sha256": _binary(found.sha256),
        "height": pa.array(found.sizes[:, 0]),
        "width": pa.array(found.sizes[:, 1]),
        "size": pa.array(found.lengths),
        "digest": _binary(found.digests),
        "reason": _texts(numbers, found.reasons),
        "note": _texts(numbers, found.notes),
    }
    return pa.table(columns, _SCHEMA)


def _found(table: pa.Table) -> ScannedBlock:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    numbers = columns["number"].to_numpy()
    reasons, notes = (
        {int(numbers[row]): columns[name][row].as_py() for row in np.flatnonzero(pc.not_equal(columns[name], ""))}
        for name in ("reason", "note")
    )
    return ScannedBlock(
        0, numbers, _bytes(columns["sha256"], np.uint8),
        np.stack([columns["height"].to_numpy(), columns["width"].to_numpy()], 1), _bytes(columns["digest"], np.uint64),
        columns["size"].to_numpy(), reasons, notes, [],
    )  # fmt: skip


def _mark(found: ScannedBlock) -> bytes:
    """SHA-256, in hex, over all that was found."""
    texts = [sorted(each.items()) for each in (found.reasons, found.notes)]
    digest = hashlib.sha256(json.dumps(texts).encode())
    for array in (np.asarray(found.numbers, np.int64), found.sha256, found.sizes, found.digests, found.lengths):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest().encode()


def _texts(numbers: NDArray[np.int64], texts: Mapping[int, str]) -> pa.Array:
    return pa.array([texts.get(number, "") for number in numbers.tolist()]) if texts else pa.repeat("", len(numbers))


def _binary(array: NDArray[Any]) -> pa.Array:
    """Each row of an array (N, …) as so many bytes."""
    width = array[0].nbytes
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(array), [None, pa.py_buffer(array.tobytes())])


def _bytes(column: pa.Array, kind: type[np.generic]) -> NDArray[Any]:
    """What `_binary` was given."""
    width = column.type.byte_width
    every = np.frombuffer(column.buffers()[1], np.uint8, width * len(column), width * column.offset)
    return every.view(kind).reshape(len(column), -1)
