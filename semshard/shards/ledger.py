"""The private ledger, `<out>.ledger/`: what only the owner may have, and what an interrupted run needs to continue.

run.json                   source, full settings with the seed, fingerprint
index.json                 which files of index/ and plan/ count, and what was changed since the run was finished
index/BBBBB.parquet        every input: source, class, SHA-256, reason if rejected or removed, shard and place in it
plan/PPPPP.parquet         the inputs of every shard
scan/BBBBB.parquet         what a scan that is not finished has found (see `scan_blocks`)
surrogate.safetensors      the network that the noise is made with
checkpoint.safetensors     the state of its training (while it runs)
NNNNN.parquet              per sample of shard NNNNN: key, source, SHA-256, or the reason of a late reject;
                           in its metadata sizes and hashes of the shard's files
rejects.jsonl              every rejected input with its reason, one JSON object per line
published.json             SHA-256 of the manifest that was written last: what audit holds the public one against
parts.json                 of a run in numbered parts: how many there are, and the machine that made the first
lock                       held by the running process; parts of a run share it
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import file_lock
from ..atomic import atomic_write, remove_leftovers, write_json
from ..errors import LedgerError, OutputError
from .damage import damage
from .index import BLOCK, KEY, Index
from .input_row import InputRow, array_of, rows_of, tables_of
from .names import digits_for, shard_name

PATIENCE = 3.0  # seconds that the lock is waited for
_ASKED = 3  # times that the lock is tried before it counts as held: another process that asks has it for a moment
_ROW = pa.schema(
    [
        ("number", pa.int64()),
        ("source", pa.string()),
        ("sha256", pa.string()),
        ("key", pa.string()),
        ("reason", pa.string()),
        ("psnr", pa.float64()),
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
    psnr: float | None = None  # dB, of a protected input; infinite where nothing was changed


def ledger_path(out: Path) -> Path:
    """The folder of the ledger of `out`: beside it, never in it. Raises `OutputError` where there can be none."""
    out = Path(os.path.abspath(out))
    if not out.name:
        raise OutputError(f"{out} has no place beside it for a ledger; choose a folder in it")
    try:
        str(out).encode()
    except UnicodeEncodeError:
        raise OutputError(f"{out} is not valid UTF-8, as the paths of Parquet files must be; choose another") from None
    return out.with_name(out.name + ".ledger")


class Ledger:
    """The ledger of one output folder; `digits` of its shards' numbers are given where the inputs are not in it."""

    def __init__(self, path: Path, digits: int = 0, *, block: int = BLOCK) -> None:
        self.path, self._digits, self.index = path, digits, Index(path, block)
        self.surrogate = path / "surrogate.safetensors"
        self.checkpoint = path / "checkpoint.safetensors"
        self.lock: int | None = (
            None  # the file descriptor that holds the lock; a process that inherits it holds it, too
        )
        self.is_alone = False  # whether the lock is held, and not shared
        self.saved: Callable[[Path], None] = lambda path: None  # hears of files that a later process goes on from

    @property
    def is_locked(self) -> bool:
        """Whether a process is writing here now, alone or beside others. Who asks keeps nobody out for longer than a
        moment.
        """
        try:
            for _ in range(_ASKED):
                with open(self.path / "lock", "r+b") as lock:
                    if file_lock.take(lock):
                        return False
                time.sleep(0.01)
        except OSError:  # no run, no locks, or a file system that cannot be written to
            return False
        return True

    @contextmanager
    def locked(self, shared: bool = False) -> Iterator[None]:
        """Create the ledger with mode 0700 if needed, and keep every other process out until the block ends, or, where
        the lock is `shared`, those that do not share it.

        Waits for `PATIENCE` seconds: the workers of a run that was killed take a moment to end. Raises `OutputError`.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.path.chmod(0o700)
        with open(self.path / "lock", "a+b") as lock:
            until = time.monotonic() + PATIENCE
            while not self._take(lock, shared):
                if time.monotonic() > until:
                    raise OutputError(f"another process is writing here (it holds {self.path / 'lock'})")
                time.sleep(0.05)
            self.lock, self.is_alone = lock.fileno(), not shared
            try:
                self.clean(self.path)
                yield
            finally:
                self.lock, self.is_alone = None, False

    def _take(self, lock: IO[bytes], shared: bool) -> bool:
        try:
            return file_lock.take(lock, shared)
        except file_lock.NoLocks:
            raise OutputError(
                f"the file system of {self.path} has no file locks, which keep processes from disturbing each other; "
                "mount it with them (Lustre: -o flock), or write to another one"
            ) from None

    def clean(self, folder: Path) -> None:
        """Delete what killed processes left half-written in a folder of the run, whose lock is held."""
        remove_leftovers(folder, everywhere=self.is_alone)

    def run(self) -> dict[str, Any] | None:
        """What `begin` wrote; None for a fresh ledger."""
        return self._json("run.json")

    def known(self) -> dict[str, Any] | None:
        """What `begin` wrote, and what was changed since; None for a fresh ledger."""
        run = self.run()
        return run | self.state() if run else None

    def held(self) -> dict[str, Any]:
        """`known`, of the run that this process has begun or gone on with. Raises `LedgerError` where it is gone."""
        known = self.known()
        if known is None:
            raise LedgerError(
                f"{self.path / 'run.json'} is gone since this call began; bring the ledger back, and run the same "
                "command again"
            )
        return known

    def write_parts(self, parts: dict[str, Any]) -> None:
        """Write parts.json, unless it is there already."""
        with suppress(FileExistsError):
            write_json(self.path / "parts.json", parts, replace=False)

    def parts(self) -> dict[str, Any] | None:
        """What `write_parts` wrote first; None where it never did."""
        return self._json("parts.json")

    def forget_parts(self) -> None:
        """Delete parts.json: the next part decides anew."""
        (self.path / "parts.json").unlink(missing_ok=True)

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

    def write_sources(
        self,
        rows: Iterable[InputRow],
        state: Mapping[str, Any] | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        """Write all inputs together with the `state` of the run, in one step: from then on both count. `source` says
        how inputs are read by their rows.
        """
        self.index.write(tables_of(rows), state or {}, source)

    def reject(self, numbers: Sequence[int], reason: str, state: Mapping[str, Any]) -> None:
        """Give those inputs a reason why they are not published, together with the new `state`, in one step."""
        self.index.reject(numbers, reason, state)

    def state(self) -> dict[str, Any]:
        """What was written with the inputs: `shards`, the number of shards that they are planned for; after a change
        `history`, a list of the changes, and what replaces the fields of run.json of the same names. Empty where an
        earlier version of semshard wrote them, or where there are none.
        """
        contents = self.index.contents()
        return dict(contents.state) if contents else {}

    def inputs(self) -> Iterator[InputRow]:
        """Every input, in the source's order, with the result of the scan; only a part of them is in memory at once."""
        for table in self.index.tables():
            yield from rows_of(table)

    def rows(self, numbers: Sequence[int] | NDArray[np.int64]) -> list[InputRow]:
        """Those inputs, in that order; of the list only the parts that hold one are read."""
        return list(rows_of(self.index.take(numbers)))

    def rejected(self) -> Iterator[InputRow]:
        """The inputs that have a reason why they are not published."""
        for table in self.index.tables():
            yield from rows_of(table.filter(pc.not_equal(table["reason"], "")))

    def scanned(self, *names: str) -> dict[str, NDArray[Any]]:
        """The results of the scan of all inputs, in the source's order, by column, or those that are named: sha256 as
        uint8 (N, 32), zero where it is unknown; label, height, width, shard, place as int32; reason as text, empty
        where the input is usable.
        """
        while True:
            before = self.index.contents()
            try:
                return self._scanned(names or ("sha256", "label", "height", "width", "shard", "place", "reason"))
            except LedgerError:
                if self.index.contents() == before:  # else it was replaced while it was read
                    raise

    def _scanned(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        columns: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for table in self.index.tables(names):
            for name in names:
                columns[name].append(array_of(table[name]))
        return {name: np.concatenate(parts) if parts else np.zeros(0) for name, parts in columns.items()}

    def names(self) -> list[str]:
        """The name of every input, in the order of their numbers."""
        return [name for table in self.index.tables(["source"]) for name in table["source"].to_pylist()]

    def write_shard(self, shard: int, rows: Iterable[LedgerRow], record: Mapping[str, Any] | None = None) -> None:
        """Write the inputs of one shard, and with them what `record` says of its files."""
        _write(self._of_shard(shard), rows, record or {})

    def has_shard(self, shard: int) -> bool:
        """Whether the inputs of a shard were written."""
        return self._of_shard(shard).exists()

    def record(self, shard: int) -> dict[str, Any]:
        """What was written with the inputs of a shard: `stats` of its files as `ShardStats` has them, `made_on`,
        `version`, `carried` fields, `absent` (place → number of inputs that were not crafted and are accounted for
        elsewhere by now). Empty where an earlier version of semshard wrote it.
        """
        path = self._of_shard(shard)
        with damage(path, LedgerError):
            return _about(pq.read_schema(path))

    def _of_shard(self, shard: int) -> Path:
        return self.path / f"{shard_name(shard, self.digits)}.parquet"

    @property
    def digits(self) -> int:
        """How many digits the numbers of the planned shards have."""
        if not self._digits and (shards := self.state().get("shards")):
            self._digits = digits_for(shards)
        return self._digits or digits_for(0)

    def shard(self, shard: int) -> list[LedgerRow]:
        """The inputs of one shard, in order."""
        return _read(self._of_shard(shard))

    def unusable(self, shard: int) -> list[LedgerRow]:
        """The inputs of one shard that turned out to be unusable when it was made."""
        path = self._of_shard(shard)
        with damage(path, LedgerError):
            reasons = pq.read_table(path, columns=["reason"], use_threads=False)["reason"]
        return [row for row in self.shard(shard) if row.reason] if reasons.null_count < len(reasons) else []

    def samples(self, shards: int) -> Iterator[LedgerRow]:
        """The protected inputs of all shards, in order of their keys."""
        return (row for shard in range(shards) for row in self.shard(shard) if row.key)

    def write_rejects(self, rows: Iterable[LedgerRow]) -> None:
        with atomic_write(self.path / "rejects.jsonl") as file:
            for row in rows:
                about = {"source": row.source, "reason": row.reason, "sha256": row.sha256}
                file.write((json.dumps(about, ensure_ascii=False) + "\n").encode())


def _metadata(about: Mapping[str, Any]) -> dict[bytes, bytes]:
    return {KEY: json.dumps(about).encode()} if about else {}


def _about(schema: pa.Schema) -> dict[str, Any]:
    return dict(json.loads((schema.metadata or {}).get(KEY, b"{}")))


def _write(path: Path, rows: Iterable[LedgerRow], about: Mapping[str, Any]) -> None:
    table, schema = io.BytesIO(), _ROW.with_metadata(_metadata(about))
    pq.write_table(pa.Table.from_pylist([vars(row) for row in rows], schema), table)
    with atomic_write(path) as file:
        file.write(table.getvalue())


def _read(path: Path) -> list[LedgerRow]:
    with damage(path, LedgerError):
        return [LedgerRow(**row) for row in pq.read_table(path, use_threads=False).to_pylist()]
