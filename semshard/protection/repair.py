"""The story of repair: every byte compared with the ledger → what is damaged made again → compared → published.

A shard is made again by the function that made it, in a folder inside the ledger, and is published only where it has
the bytes that the ledger, or else the manifest, says.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic import atomic_write, remove_leftovers
from ..digests import sha256_if_there
from ..engine import deterministic, make_runtime
from ..engine.runtime import choose_precision
from ..errors import LedgerError, ShardError
from ..progress import Event, Progress, remarks, silent
from ..publishing import needs_description, write_description
from ..shards import (
    Ledger,
    LedgerRow,
    ShardStats,
    broken_lists,
    done_stats,
    manifest_bytes,
    mark_done,
    read_manifest,
    shard_name,
)
from ..shards.rewrite import table_of_tar
from ..sources import SourceOptions, open_source
from ..sources.collection import has_bytes
from ..sources.in_order import InOrder
from ..storage import local_path
from .known_plan import KnownPlan, known_collection
from .known_shards import made_on
from .noise import Crafting
from .output import Output
from .protect import surrogate_of
from .publish import Finished
from .request import Request
from .resume import Run
from .settle import broken_files, follow, is_unrecorded, settle, settle_late, settle_shard, stats_in
from .shard_pool import make_missing

SCRATCH = "repair"  # folder inside the ledger


@dataclass(frozen=True)
class RepairResult:
    """What was found, and made whole again."""

    repaired: tuple[str, ...]  # files that were damaged or missing
    remade: int  # shards that had to be crafted again
    shards: int  # that were checked
    out: str


def repair(
    shards: str | Path, *, source: str | Path | None = None, device: str = "auto", progress: Progress = silent
) -> RepairResult:
    """Make damaged or missing files of the finished folder `shards` again, with the bytes that they had.

    `source` says where the clean images are, if they are no longer where the ledger says. Where nothing is damaged,
    nothing is done.

    Raises `ShardError` where a shard cannot be made again, because its files have changed or because this machine gives
    other bytes; what could be repaired is repaired. `LedgerError` where the ledger is missing, or is of an earlier
    version that did not keep enough.
    """
    out = local_path(shards, "shards")
    finished = Finished.of(out)
    with finished.ledger.locked():
        finished = Finished.of(out)  # as it is now that nobody else writes here
        work = _Repair(finished, source, device, progress)
        finished.out.mkdir(parents=True, exist_ok=True)
        remove_leftovers(finished.out)
        shutil.rmtree(work.scratch, ignore_errors=True)
        work.shards()
        shutil.rmtree(work.scratch, ignore_errors=True)
        try:
            settle(finished.out, finished.ledger)  # a change that was killed
        except ShardError as error:  # until that shard is whole the manifest does not follow: the change stays open
            work.hopeless = work.hopeless or [str(error)]
        else:
            work.manifest()
    if work.hopeless:
        done = f"; repaired all the same: {', '.join(work.repaired[:5])}" if work.repaired else ""
        raise ShardError("; ".join(work.hopeless[:3]) + done)
    return RepairResult(tuple(work.repaired), work.remade, finished.shards, str(finished.out))


class _Repair:
    """A repair: what is done so far."""

    def __init__(self, finished: Finished, source: str | Path | None, device: str, progress: Progress) -> None:
        self._finished, self._source, self._device, self._progress = finished, source, device, progress
        self._out, self._ledger = finished.out, finished.ledger
        self.scratch = finished.ledger.path / SCRATCH
        self.repaired: list[str] = []
        self.hopeless: list[str] = []  # why shards cannot be made again
        self.remade = 0
        self._lost: list[int] = []  # shards that have to be made again

    def shards(self) -> None:
        """Check every shard, and make whole what is not."""
        count, lost = self._finished.shards, list[tuple[int, list[str]]]()
        for shard in range(count):
            broken = self._broken(shard)
            if broken and not self._mend(shard, broken):
                lost.append((shard, broken))
            self._progress(Event("check", shard + 1, count, "shards", {"damaged": len(lost)}))
        self._lost = [shard for shard, _ in lost]
        possible = {shard: broken for shard, broken in lost if self._is_possible(shard)}
        first = next(iter(possible), None)
        if first is None:
            return
        if not self._is_same_machine():  # one shard shows whether all can be made here
            before = len(self.hopeless)
            self._remake({first: possible.pop(first)})
            if len(self.hopeless) > before:
                self.hopeless += [f"shards that were not tried: {len(possible)}"] if possible else []
                return
        if possible:
            self._remake(possible)

    def _is_same_machine(self) -> bool:
        """Whether this machine is of the kind that made the shards; a remark where it is not."""
        then, now = self._finished.made_on, made_on(self._run)
        if then != now:
            machines = [f"{machine['device']} with torch {machine['torch']}" for machine in (then, now)]
            sentence = "made on {}, this is {}: bytes may differ, and are published only if they do not"
            self._progress(Event("craft", message=sentence.format(*machines)))
        return then == now

    def manifest(self) -> None:
        """Write the manifest where it is not what the ledger describes."""
        try:
            stats = [stats_in(self._ledger, shard) for shard in range(self._finished.shards)]
        except LedgerError:
            return  # among the hopeless
        finished, path = Finished.of(self._out), self._out / "manifest.json"
        expected = finished.manifest(stats)
        broken = broken_lists(self._out, expected)
        if not path.is_file() or path.read_bytes() != manifest_bytes(expected) or broken:
            finished.publish(stats)
            self.repaired += [*broken, path.name]
        elif is_unrecorded(self._out, self._ledger):  # a change that was killed
            finished.publish(stats)
            self.repaired.append(f"{self._ledger.path.name}/published.json")
        if needs_description(self._out, {}):
            write_description(self._out, {})
            self.repaired.append("README.md")

    def _stem(self, shard: int) -> str:
        return shard_name(shard, self._ledger.digits)

    def _broken_public(self, expected: ShardStats) -> list[str]:
        return broken_files(self._out, expected, self._ledger.digits)

    def _broken(self, shard: int) -> list[str]:
        """The files of a shard that are not what they should be; its file in the ledger is the first."""
        expected = self._expected(shard)
        own = self._ledger.path / f"{self._stem(shard)}.parquet"
        try:
            self._ledger.shard(shard)
            lost = [] if "stats" in self._ledger.record(shard) else [f"{self._ledger.path.name}/{own.name}"]
        except LedgerError:
            lost = [f"{self._ledger.path.name}/{own.name}"]
        return [*lost, *(self._broken_public(expected) if expected else [f"{self._stem(shard)}.tar"])]

    def _expected(self, shard: int) -> ShardStats | None:
        """The stats that a shard should have, by the ledger, or else by the manifest."""
        try:
            return stats_in(self._ledger, shard)
        except LedgerError:
            pass
        try:
            entry = dict(read_manifest(self._out)["shards"][shard])
            stats = done_stats(self._out, shard, self._ledger.digits)
        except (ShardError, IndexError):
            return None
        del entry["name"]
        return ShardStats(shard=shard, rejected=stats.rejected if stats else 0, **entry)

    # --- without the source ----------------------------------------------------------------------------------------

    def _mend(self, shard: int, broken: list[str]) -> bool:
        """Make a shard whole from what is left of it, where that is possible."""
        expected = self._expected(shard)
        if expected is None or broken[0].startswith(self._ledger.path.name):
            return False
        if broken == [f"{self._stem(shard)}.parquet"] and (table := self._table_of_tar(expected)):
            with atomic_write(self._out / broken[0]) as file:
                file.write(table)
        elif broken == [f"{self._stem(shard)}_stats.json"]:
            mark_done(self._out, expected, self._ledger.digits)
        else:
            follow(self._out, self._ledger.shard(shard), expected, self._ledger.digits)  # a removal that was killed
        if self._broken_public(expected) == [f"{self._stem(shard)}_stats.json"]:
            mark_done(self._out, expected, self._ledger.digits)
        if self._broken_public(expected):
            return False
        self.repaired += broken
        return True

    def _table_of_tar(self, expected: ShardStats) -> bytes | None:
        """The parquet file of a shard, by what its tar says of the samples; None where it is another one."""
        try:
            table = table_of_tar(self._out / f"{self._stem(expected.shard)}.tar", self._finished.fields)
        except ShardError:
            return None
        return table if hashlib.sha256(table).hexdigest() == expected.parquet_sha256 else None

    # --- from the source -------------------------------------------------------------------------------------------

    @cached_property
    def _removed_of_lost(self) -> set[int]:
        """Inputs of shards that have to be made again which were removed since, by a call that was killed before it
        rewrote the shard. They belong to its bytes as the ledger has them, until `settle_shard` takes them out.
        """
        here = {row.number for shard in self._lost for row in _rows(self._ledger, shard)}
        return here & {row.number for row in self._ledger.rejected()} if here else set()

    @cached_property
    def _run(self) -> Run:
        """The run with its source opened."""
        finished = self._finished
        known, config = finished.known, finished.config
        if config.has_surrogate and not self._ledger.surrogate.exists():
            raise LedgerError(f"{self._ledger.surrogate} is missing; without it no shard can be made again")
        request = Request(
            self._source or known["source"], max_rejects=1, options=SourceOptions(**known["source_options"]),
            progress=self._progress,
        )  # fmt: skip
        source = InOrder(open_source(request.source, request.options), self._ledger.names())
        collection = known_collection(source, self._ledger, config, known)
        for number in self._removed_of_lost:
            del collection.rejects[number]
        return Run(
            request, make_runtime(self._device, config.precision, remarks(self._progress)), collection, config,
            Output(self._out, self._ledger), known["fingerprint"], KnownPlan.of(self._ledger),
        )  # fmt: skip

    def _is_possible(self, shard: int) -> bool:
        """Whether the files of the shard's samples are what they were."""
        name, run = f"{self._stem(shard)}.tar", self._run
        if self._expected(shard) is None:
            self.hopeless.append(f"{name} cannot be checked: neither the ledger nor the manifest says what it was")
            return False
        numbers = [row.number for row in _rows(self._ledger, shard)] or run.plan()[shard].tolist()
        changed = [
            number
            for number in numbers
            if number not in run.collection.rejects
            and not has_bytes(run.collection.source, number, run.collection.sha256[number].tobytes())
        ]
        if changed and self._removed_of_lost.issuperset(changed):
            self.hopeless.append(
                f"{name} cannot be compared with what it was: files that were removed from it are gone; delete it, and "
                "the same protect command makes it without them"
            )
        elif changed:
            entry = run.collection.source.entry(changed[0])
            self.hopeless.append(
                f"{name} cannot be made again: {len(changed)} of its files in {run.collection.source.spec} changed or "
                f"vanished since, such as {entry.name}; bring them back"
            )
        return not changed

    def _remake(self, lost: dict[int, list[str]]) -> None:
        """Make those shards again, and publish those that have the bytes that they had."""
        run, folders = self._run, (self.scratch / "shards", self.scratch / "ledger")
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        columns = self._ledger.scanned("reason", "shard", "place")
        for shard in lost:
            with suppress(LedgerError):  # its file is damaged, too
                settle_late(self._ledger, shard, columns)
        crafting = Crafting.of(run, surrogate_of(run))
        with deterministic():
            make_missing(run, crafting, run.plan(), list(lost), into=folders)
        for shard, broken in lost.items():
            expected, made = self._expected(shard), done_stats(folders[0], shard, self._ledger.digits)
            assert expected is not None
            assert made is not None
            if (made.sha256, made.parquet_sha256) != (expected.sha256, expected.parquet_sha256):
                self.hopeless.append(self._comparison(shard, folders[0]))
                continue
            if broken[0].startswith(self._ledger.path.name):
                scratch = Ledger(folders[1], self._ledger.digits)
                record = {**scratch.record(shard), "made_on": self._finished.made_on}  # they are its bytes
                self._ledger.write_shard(shard, scratch.shard(shard), record)
            settle_shard(folders[0], self._ledger, shard, columns)
            if broken_files(folders[0], stats_in(self._ledger, shard), self._ledger.digits):
                self.hopeless.append(f"{self._stem(shard)}.tar could not be written without what was removed")
                continue
            for suffix in (".tar", ".parquet"):
                _copy(*(folder / f"{self._stem(shard)}{suffix}" for folder in (folders[0], self._out)))
            mark_done(self._out, stats_in(self._ledger, shard), self._ledger.digits)
            self.repaired += broken
            self.remade += 1

    def _comparison(self, shard: int, made: Path) -> str:
        """What is different about this machine, where a shard has come out with other bytes."""
        run, name = self._run, self._stem(shard)
        there, here = dict(self._finished.made_on), made_on(run)
        usual, precision = choose_precision(run.runtime.device)[0], run.config.precision
        old, new = (_pixels(folder / f"{name}.parquet") for folder in (self._out, made))
        equal = sum(new.get(key) == value for key, value in old.items())
        then, now = (f"{machine['device']} with torch {machine['torch']}" for machine in (there, here))
        parts = [
            "device and torch are the same" if then == now else f"it was made on {then}, this is {now}",
            f"its networks computed in {precision}, by itself this device takes {usual}" if precision != usual else "",
            f"{equal} of {len(old)} samples have the same pixels" if old else "",
        ]
        return f"{name}.tar comes out with other bytes here, and was not replaced: {', '.join(filter(None, parts))}"


def _rows(ledger: Ledger, shard: int) -> list[LedgerRow]:
    """The published inputs of a shard."""
    try:
        return [row for row in ledger.shard(shard) if row.key]
    except LedgerError:
        return []


def _pixels(table: Path) -> dict[str, Any]:
    """The SHA-256 of the pixels of every sample in a shard's parquet file; nothing where it is damaged."""
    try:
        return {row["key"]: row["sha256"] for row in pq.read_table(table).to_pylist()}
    except (pa.ArrowException, OSError, KeyError):
        return {}


def _copy(source: Path, target: Path) -> None:
    if sha256_if_there(source) == sha256_if_there(target):
        return
    with open(source, "rb") as data, atomic_write(target) as file:
        shutil.copyfileobj(data, file)
