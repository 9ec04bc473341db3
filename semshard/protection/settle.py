"""The public folder follows the ledger: what its inputs say was removed or moved since is taken out of the shards.

A change is made in two parts. First the ledger's list of inputs is replaced, in one step; from then on the change
counts. Then the shards follow, one by one: the ledger's file of the shard first, with the hashes that the shard is
going to have, then its public files. Whatever is killed in between, the same is done again from where it stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..digests import sha256_if_there
from ..errors import LedgerError, ShardError
from ..shards import Ledger, LedgerRow, ShardStats, done_stats, manifest_sha256, read_manifest, shard_name
from ..shards.rewrite import publish_thinned, thinned

EARLIER = "was written by an earlier version of semshard, which did not keep what this needs"


def is_pending(out: Path, state: dict[str, Any]) -> bool:
    """Whether the ledger's history has something that the manifest does not have yet."""
    try:
        return bool(read_manifest(out).get("history", []) != state.get("history", []))
    except ShardError:
        return bool(state.get("history"))


def is_unrecorded(out: Path, ledger: Ledger) -> bool:
    """Whether the ledger has recorded another manifest than the one that is there, as where a change was killed after
    it had written the manifest. A run of an earlier version that was never changed need not have recorded any.
    """
    recorded = ledger.published()
    return recorded != manifest_sha256(out) and (recorded is not None or bool(ledger.state().get("history")))


def settle(out: Path, ledger: Ledger, missing: Collection[int] = ()) -> None:
    """Take out of shards and of the ledger's files of them what is accounted for elsewhere; a shard that is `missing`
    is going to be made without it. Raises `ShardError`, once all others are done, where a shard that has to be
    rewritten is damaged. A shard whose files are not those that the ledger describes stays so.
    """
    columns, damaged = ledger.scanned("reason", "shard", "place"), list[ShardError]()
    for shard in range(ledger.state().get("shards", 0)):
        try:
            settle_shard(out, ledger, shard, columns, is_missing=shard in missing)
        except ShardError as error:
            damaged.append(error)
    if damaged:
        raise damaged[0]


def settle_shard(
    out: Path, ledger: Ledger, shard: int, columns: Mapping[str, NDArray[Any]], is_missing: bool = False
) -> None:
    """`settle` of one shard, whose public files are in `out`; `columns` are those of all inputs."""
    try:
        rows, record = settle_late(ledger, shard, columns)
    except LedgerError:
        return  # not made yet, or damaged: `repair` says so
    left = [row for row in rows if not _is_elsewhere(row, shard, columns)]
    if len(left) < len(rows):
        if is_missing:
            return
        record["stats"] = vars(_stats_of_rows(out, left, stats_in(ledger, shard), ledger.digits))
        ledger.write_shard(shard, left, record)
        rows = left
    if "stats" in record and not matches(out, ShardStats(**record["stats"]), ledger.digits):
        follow(out, rows, ShardStats(**record["stats"]), ledger.digits)


def settle_late(
    ledger: Ledger, shard: int, columns: Mapping[str, NDArray[Any]]
) -> tuple[list[LedgerRow], dict[str, Any]]:
    """The ledger's rows of a shard and its record, once late rejects that are accounted for elsewhere have no row there
    any more; no public file changes by that. Raises `LedgerError`.
    """
    rows, record = ledger.shard(shard), ledger.record(shard)
    late = [row.number for row in rows if row.key is None and _is_elsewhere(row, shard, columns)]
    if late:
        rows = [row for row in rows if row.key or not _is_elsewhere(row, shard, columns)]
        before = record.get("absent", [])
        record["absent"] = sorted([*before, *_places(shard, late, before, columns)])
        ledger.write_shard(shard, rows, record)
    return rows, record


def _is_elsewhere(row: LedgerRow, shard: int, columns: Mapping[str, NDArray[Any]]) -> bool:
    """Whether an input of a shard was removed since, or is planned for another shard."""
    return bool(columns["reason"][row.number]) or int(columns["shard"][row.number]) != shard


def matches(out: Path, stats: ShardStats, digits: int) -> bool:
    """Whether a shard's files have the sizes in these stats, and its stats file says the same."""
    try:
        return done_stats(out, stats.shard, digits) == stats
    except ShardError:
        return False


def broken_files(out: Path, stats: ShardStats, digits: int) -> list[str]:
    """The names of the files of a shard that are missing, or not those with these stats: every byte is read."""
    stem = shard_name(stats.shard, digits)
    files = {f"{stem}.tar": stats.sha256, f"{stem}.parquet": stats.parquet_sha256}
    broken = [name for name, sha256 in files.items() if sha256_if_there(out / name) != sha256]
    return broken if broken or matches(out, stats, digits) else [f"{stem}_stats.json"]


def record_in(ledger: Ledger, shard: int) -> dict[str, Any]:
    """`Ledger.record`; empty where its file is missing or damaged, too."""
    try:
        return ledger.record(shard)
    except LedgerError:
        return {}


def machines_in(ledger: Ledger, shards: int) -> dict[str, str]:
    """What made the first so many shards, as their records say; where they were made on several kinds of machines, all
    kinds by name, joined by "; ". Empty where no record says it.
    """
    made_on = [record["made_on"] for shard in range(shards) if "made_on" in (record := record_in(ledger, shard))]
    if not made_on:
        return {}
    return {
        name: "; ".join(sorted({kind for machine in made_on for kind in machine[name].split("; ")}))
        for name in ("device", "torch")
    }


def stats_in(ledger: Ledger, shard: int) -> ShardStats:
    """What the ledger says of the files of a shard. Raises `LedgerError`."""
    record = ledger.record(shard)
    if "stats" not in record:
        raise LedgerError(f"{ledger.path} {EARLIER}")
    return ShardStats(**record["stats"])


def _stats_of_rows(out: Path, rows: list[LedgerRow], before: ShardStats, digits: int) -> ShardStats:
    """The stats that a shard with other ones `before` has with those samples alone. Raises `ShardError`."""
    if broken := broken_files(out, before, digits):
        raise ShardError(f"{out / broken[0]} is damaged; semshard repair {out} comes first")
    psnr = {row.key: row.psnr for row in rows if row.key and row.psnr is not None}
    return thinned(out, before.shard, psnr, before.rejected, digits)


def _places(
    shard: int, numbers: Sequence[int], absent: Sequence[Sequence[int]], columns: Mapping[str, NDArray[Any]]
) -> list[list[int]]:
    """[place, number] in a shard of inputs that could not be read when it was made: where the list of inputs says, or,
    of those that are planned for another shard by now, the places that nothing else has, in order.
    """
    here = columns["shard"] == shard
    known = {int(columns["place"][number]): number for number in numbers if here[number]}
    elsewhere = [number for number in numbers if not here[number]]
    taken = set(columns["place"][here].tolist()) | {place for place, _ in absent}
    free = (place for place in range(len(taken) + len(elsewhere)) if place not in taken)
    return [[place, number] for place, number in [*known.items(), *zip(free, elsewhere, strict=False)]]


def follow(out: Path, rows: list[LedgerRow], stats: ShardStats, digits: int) -> None:
    """Publish a shard as the ledger describes it, where it can be made of the shard that is there."""
    try:
        publish_thinned(out, {row.key for row in rows if row.key}, stats, digits)
    except ShardError:
        return  # it has to be made again
