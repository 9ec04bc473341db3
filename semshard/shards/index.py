"""The ledger's list of inputs as files: any part of it, and of the plan of the shards, is read without the rest.

index.json             which of the files below count, the state of the run, and how its source is read by rows
index/BBBBB.parquet    65,536 inputs each, in the source's order; BBBBB.G.parquet where change G has replaced it
plan/PPPPP.parquet     64 shards each: their inputs, in their places

A change writes new files beside the old ones, then index.json in one step: from then on the change counts, and what
nothing names is deleted. Earlier versions wrote one `sources.parquet`, which is read where there is no index.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import atomic_write, remove_leftovers
from ..errors import LedgerError
from .damage import damage
from .plan_table import in_shards, plan_table, shards_of
from .table_file import TableFile, write_table

BLOCK = 1 << 16  # inputs of a file
GROUP = 1 << 12  # inputs that are read at once, at least
SHARDS = 1 << 6  # of a file of the plan
KEY = b"semshard"  # of the JSON in the metadata of a table
SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("source", pa.string()),
        ("sha256", pa.binary(32)),
        ("label", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("reason", pa.string()),
        ("note", pa.string()),
        ("shard", pa.int32()),
        ("place", pa.int32()),
        ("file", pa.binary()),  # as `Location.file`; empty where it is the name
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("more", pa.string()),  # JSON; empty where there is none
    ]
)
_ABSENT = {
    "shard": -1,
    "place": -1,
    "file": b"",
    "offset": -1,
    "size": -1,
    "more": "",
}  # in ledgers of earlier versions
_FORM = 1
SCAN = "scan"  # the folder of what a scan has finished (`scan_blocks`), until its list is written


@dataclass(frozen=True)
class Contents:
    """What index.json says; of a ledger of an earlier version, what follows from its one file."""

    inputs: int = 0
    block: int = BLOCK  # inputs of a file
    generation: int = -1  # changes so far
    files: tuple[TableFile, ...] = ()
    plan: tuple[TableFile, ...] | None = None  # None where an earlier version wrote it
    each: int = SHARDS  # shards of a file of the plan
    source: Mapping[str, Any] | None = None  # how it is read by rows; None where it has to be opened again
    state: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        plan = [file.to_json() for file in self.plan or ()]
        return {**vars(self), "form": _FORM, "files": [file.to_json() for file in self.files], "plan": plan}


class Index:
    """The list of inputs in the folder of a ledger; `block` inputs a file and `each` shards a file of the plan where it
    is written anew.
    """

    def __init__(self, folder: Path, block: int = BLOCK, each: int = SHARDS) -> None:
        self.folder, self.block, self._each = folder, block, each
        self.path = folder / "index.json"
        self._old = folder / "sources.parquet"

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def written(self) -> Path:
        """The file whose appearance made the list count; it need not be there."""
        return self._old if self._old.exists() and not self.path.exists() else self.path

    def contents(self) -> Contents | None:
        """None where no list was written yet. Raises `LedgerError`."""
        if not self.path.exists():
            return self._old_contents()
        with damage(self.path, LedgerError):
            return _parsed(self.path.read_bytes())

    def known(self) -> Contents:
        """The same where there has to be one."""
        contents = self.contents()
        if contents is None:
            raise LedgerError(f"{self.path} is missing; bring it back from a copy of the ledger")
        return contents

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """All rows, or those columns of them, in order; a part at a time."""
        contents = self.known()
        if contents.plan is None:
            yield from self._old_tables(columns)
            return
        for file in contents.files:
            yield file.read(self.folder / "index", columns)

    def take(self, numbers: Sequence[int] | NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of those inputs, in that order; only the files that hold one are read, and only in part.

        Raises `IndexError` where there is no such input.
        """
        wanted, contents = np.asarray(numbers, np.int64), self.known()
        if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < contents.inputs:
            raise IndexError(f"there are {contents.inputs} inputs, and no {wanted.max()}")
        names = SCHEMA.names if columns is None else list(columns)
        order = np.argsort(wanted, kind="stable")
        parts = [table.select(names) for table in self._found(contents, wanted[order], names)]
        schema = pa.schema([SCHEMA.field(name) for name in names])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables([schema.empty_table(), *parts]).take(pa.array(back))

    def _found(self, contents: Contents, wanted: NDArray[np.int64], columns: list[str]) -> Iterator[pa.Table]:
        """The rows of `wanted` inputs, which ascend."""
        if contents.plan is None:
            at = 0
            for table in self._old_tables(columns):
                first, last = np.searchsorted(wanted, (at, at + len(table)))
                yield table.take(pa.array(wanted[first:last] - at))
                at += len(table)
            return
        blocks = wanted // contents.block
        for block in np.unique(blocks).tolist():
            rows = wanted[blocks == block] - block * contents.block
            yield contents.files[block].take(self.folder / "index", rows, columns)

    def shard(self, shard: int) -> NDArray[np.int64]:
        """The inputs that are planned for a shard, in their places; of the plan no other shard is read."""
        contents = self.known()
        assert contents.plan is not None
        row = np.array([shard % contents.each])
        return shards_of(contents.plan[shard // contents.each].take(self.folder / "plan", row))[0]

    def shards(self) -> Iterator[NDArray[np.int64]]:
        """The inputs of every shard."""
        for file in self.known().plan or ():
            yield from shards_of(file.read(self.folder / "plan"))

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, tables: Iterable[pa.Table], state: Mapping[str, Any], source: Mapping[str, Any] | None) -> None:
        """Write all inputs, in tables of any length, with the `state` of the run, in one step: from then on both count.
        `source` says how inputs are read by their rows; None where it has to be opened again for that.
        """
        before = self.contents() or Contents()
        generation, files = before.generation + 1, list[TableFile]()
        where = list[pa.Table]()
        for number, table in enumerate(_cut(tables, self.block)):
            files.append(self._write("index", number, table, GROUP, before.files, generation))
            where.append(table.select(["shard", "place", "number"]))
        shards = _in_shards(where, state.get("shards", 0))
        plan = [
            self._write("plan", number, plan_table(shards, first, self._each), 1, before.plan or (), generation)
            for number, first in enumerate(range(0, len(shards), self._each))
        ]
        inputs = sum(file.rows for file in files)
        self._commit(
            Contents(inputs, self.block, generation, tuple(files), tuple(plan), self._each, source, dict(state))
        )

    def reject(self, numbers: Sequence[int], reason: str, state: Mapping[str, Any]) -> None:
        """Give those inputs a reason why they are not published; only files that hold one are written again."""
        before, wanted = self.known(), np.unique(np.asarray(numbers, np.int64))
        if before.plan is None:
            self.write((_with_reason(table, wanted, reason) for table in self._old_tables(None)), state, None)
            return
        files, generation = list(before.files), before.generation + 1
        for number in np.unique(wanted // before.block).tolist():
            table = _with_reason(files[number].read(self.folder / "index"), wanted, reason)
            files[number] = self._write("index", number, table, GROUP, files, generation)
        self._commit(replace(before, generation=generation, files=tuple(files), state=dict(state)))

    def _write(
        self, folder: str, number: int, table: pa.Table, group: int, before: Sequence[TableFile], generation: int
    ) -> TableFile:
        (self.folder / folder).mkdir(exist_ok=True)
        name = f"{number:05d}.{generation}.parquet" if generation else f"{number:05d}.parquet"
        known = before[number] if number < len(before) else None
        return write_table(self.folder / folder, name, table, group, known)

    def _commit(self, contents: Contents) -> None:
        with atomic_write(self.path) as file:  # all ASCII: a path may hold bytes that are not UTF-8
            file.write(json.dumps(contents.to_json(), indent=1).encode())
        self._tidy({"index": contents.files, "plan": contents.plan or (), SCAN: ()})

    def _tidy(self, named: Mapping[str, Sequence[TableFile]]) -> None:
        """Delete, by folder, what is not named: of earlier changes, of ones that were killed, and of the scan."""
        for name, files in named.items():
            folder, kept = self.folder / name, {file.name for file in files}
            if folder.is_dir():
                remove_leftovers(folder)
                for path in folder.glob("*.parquet"):
                    if path.name not in kept:
                        path.unlink()
        self._old.unlink(missing_ok=True)

    # --- of an earlier version ---------------------------------------------------------------------------------------

    def _old_contents(self) -> Contents | None:
        if not self._old.exists():
            return None
        with damage(self._old, LedgerError), pq.ParquetFile(self._old) as file:
            state = json.loads((file.schema_arrow.metadata or {}).get(KEY, b"{}"))
            return Contents(file.metadata.num_rows, state=dict(state))

    def _old_tables(self, columns: Sequence[str] | None) -> Iterator[pa.Table]:
        names = SCHEMA.names if columns is None else columns
        with damage(self._old, LedgerError), pq.ParquetFile(self._old) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            for batch in file.iter_batches(BLOCK, columns=there):
                table = pa.Table.from_batches([batch])
                columns_of = {
                    name: table[name].cast(SCHEMA.field(name).type)
                    if name in there
                    else pa.array([_ABSENT[name]] * len(table), SCHEMA.field(name).type)
                    for name in names
                }
                yield pa.table(columns_of)


def _parsed(data: bytes) -> Contents:
    about = dict(json.loads(data))
    if about.pop("form") != _FORM:
        raise LedgerError("the index of the ledger was written by a later version of semshard; use that one")
    files, plan = (tuple(TableFile(**file) for file in about.pop(name)) for name in ("files", "plan"))
    contents = Contents(files=files, plan=plan, **about)
    if contents.inputs != sum(file.rows for file in files):
        raise ValueError("its files do not hold as many inputs as it says")
    return contents


def _cut(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many; the last may have fewer."""
    waiting, held = list[pa.Table](), 0
    for table in tables:
        waiting.append(table.cast(SCHEMA))
        held += len(table)
        while held >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows).combine_chunks()
            waiting, held = [whole.slice(rows)], held - rows
    if held:
        yield pa.concat_tables(waiting).combine_chunks()


def _in_shards(where: Sequence[pa.Table], shards: int) -> list[NDArray[np.int64]]:
    """The inputs of each of so many shards, by the columns shard, place and number of parts of the list."""
    if not where:
        return [np.zeros(0, np.int64)] * shards
    names = where[0].column_names
    shard, place, number = (np.concatenate([table[name].to_numpy() for table in where]) for name in names)
    return in_shards(shard, place, number, shards)


def _with_reason(table: pa.Table, numbers: NDArray[np.int64], reason: str) -> pa.Table:
    hit = np.isin(table["number"].to_numpy(), numbers)
    reasons = pc.if_else(pa.array(hit), reason, table["reason"])
    return table.set_column(table.schema.get_field_index("reason"), SCHEMA.field("reason"), reasons)
