"""The private ledger, `<out>.ledger/`: what only the owner may have, and what an interrupted run needs to continue.

run.json                   source, full settings with the seed, fingerprint
sources.parquet            every input: source, class, SHA-256, reason if rejected
surrogate.safetensors      the network that the noise is made with
checkpoint.safetensors     the state of its training (while it runs)
NNNNN.parquet              per sample of shard NNNNN: key, source, SHA-256, or the reason of a late reject
rejects.jsonl              every rejected input with its reason, one JSON object per line
published.json             SHA-256 of the manifest that was written last: what audit holds the public one against
lock                       held by the running process
"""

from __future__ import annotations

import io
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import file_lock
from ..atomic import atomic_write, remove_leftovers, write_json
from ..errors import LedgerError, OutputError
from .damage import damage
from .writer import shard_name

_INPUT = pa.schema(
    [
        ("number", pa.int64()),
        ("source", pa.string()),
        ("sha256", pa.binary(32)),
        ("label", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("reason", pa.string()),
        ("note", pa.string()),
    ]
)
PATIENCE = 3.0  # seconds that the lock is waited for
_GROUP = 1 << 16  # rows that are in memory at once
_ROW = pa.schema(
    [
        ("number", pa.int64()),
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("key", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class LedgerRow:
    """The outcome of one input. Protected inputs have a key, rejected ones a reason."""

    number: int  # in the source's order
    source: str  # relative to the source's root
    sha256: str | None  # of the source's bytes; None where they could not be read
    key: str | None = None
    reason: str | None = None


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


def ledger_path(out: Path) -> Path:
    """The folder of the ledger of `out`: beside it, never in it."""
    out = Path(os.path.abspath(out))
    return out.with_name(out.name + ".ledger")


class Ledger:
    """The ledger of one output folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.surrogate = path / "surrogate.safetensors"
        self.checkpoint = path / "checkpoint.safetensors"
        self.lock: int | None = (
            None  # the file descriptor that holds the lock; a process that inherits it holds it, too
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the ledger with mode 0700 if needed, and keep every other process out until the block ends.

        Waits for `PATIENCE` seconds: the workers of a run that was killed take a moment to end.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.path.chmod(0o700)
        with open(self.path / "lock", "ab") as lock:
            until = time.monotonic() + PATIENCE
            while not file_lock.take(lock):
                if time.monotonic() > until:
                    raise OutputError(f"another process is writing here (it holds {self.path / 'lock'})")
                time.sleep(0.05)
            remove_leftovers(self.path)
            self.lock = lock.fileno()
            try:
                yield
            finally:
                self.lock = None

    def run(self) -> dict[str, Any] | None:
        """What `begin` wrote; None for a fresh ledger."""
        return self._json("run.json")

    def begin(self, run: dict[str, Any]) -> None:
        """Write run.json: from then on the output belongs to this run."""
        write_json(self.path / "run.json", run)

    def write_published(self, sha256: str) -> None:
        """Record the manifest that was just written, by its SHA-256 in hex."""
        write_json(self.path / "published.json", {"manifest_sha256": sha256})

    def published(self) -> str | None:
        """SHA-256 of the manifest that was recorded last; None where none was."""
        record = self._json("published.json")
        if record is None:
            return None
        with damage(self.path / "published.json", LedgerError):
            return str(record["manifest_sha256"])

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        with damage(path, LedgerError):
            return dict(json.loads(path.read_bytes())) if path.exists() else None

    def write_sources(self, rows: Iterable[InputRow]) -> None:
        every = iter(rows)
        with atomic_write(self.path / "sources.parquet") as file, pq.ParquetWriter(file, _INPUT) as writer:
            while some := list(itertools.islice(every, _GROUP)):
                columns = {name: [getattr(row, name) for row in some] for name in _INPUT.names}
                writer.write_table(pa.table(columns, _INPUT))

    def inputs(self) -> Iterator[InputRow]:
        """Every input, in the source's order, with the result of the scan; only a part of them is in memory at once."""
        path = self.path / "sources.parquet"
        with damage(path, LedgerError), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_GROUP):
                yield from (InputRow(**row) for row in batch.to_pylist())

    def scanned(self) -> dict[str, NDArray[Any]]:
        """The results of the scan of all inputs, in the source's order, by column: sha256 as uint8 (N, 32), zero where
        it is unknown; label, height, width as int32; reason as text, empty where the input is usable.
        """
        columns: dict[str, list[NDArray[Any]]] = {"sha256": [], "label": [], "height": [], "width": [], "reason": []}
        path = self.path / "sources.parquet"
        with damage(path, LedgerError), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_GROUP):
                digests = b"".join(value or bytes(32) for value in batch["sha256"].to_pylist())
                columns["sha256"].append(np.frombuffer(digests, np.uint8).reshape(-1, 32))
                for name in ("label", "height", "width"):
                    columns[name].append(batch[name].to_numpy())
                columns["reason"].append(np.array(batch["reason"].to_pylist(), object))
        return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in columns.items()}

    def write_shard(self, shard: int, rows: Iterable[LedgerRow]) -> None:
        _write(self.path / f"{shard_name(shard)}.parquet", rows)

    def shard(self, shard: int) -> list[LedgerRow]:
        """The inputs of one shard, in order."""
        return _read(self.path / f"{shard_name(shard)}.parquet")

    def samples(self, shards: int) -> Iterator[LedgerRow]:
        """The protected inputs of all shards, in order of their keys."""
        return (row for shard in range(shards) for row in self.shard(shard) if row.key)

    def write_rejects(self, rows: Iterable[LedgerRow]) -> None:
        with atomic_write(self.path / "rejects.jsonl") as file:
            for row in rows:
                about = {"source": row.source, "reason": row.reason, "sha256": row.sha256}
                file.write((json.dumps(about, ensure_ascii=False) + "\n").encode())


def _write(path: Path, rows: Iterable[LedgerRow]) -> None:
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], _ROW), table)
    with atomic_write(path) as file:
        file.write(table.getvalue())


def _read(path: Path) -> list[LedgerRow]:
    with damage(path, LedgerError):
        return [LedgerRow(**row) for row in pq.read_table(path, use_threads=False).to_pylist()]
