"""The story of remove: keys or source paths → the ledger remembers → shards without them → manifest with its history.

Only the shards that hold one of the samples are rewritten, from their own bytes: what remains keeps its bytes, its key
and its order. Neither the source nor the surrogate is needed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..atomic import remove_leftovers
from ..errors import OutputError, ShardError, UsageError
from ..publishing import refuse_other_description
from ..settings import MOST_IN_SHARD
from ..shards import REMOVED, InputRow, Ledger, code_of, read_manifest, sample_key, tar_name, was_removed
from ..storage import local_path
from .publish import Finished, StatsOfShards
from .settle import broken_files, is_pending, is_unrecorded, record_in, settle, stats_in

Listed = str | Path | Iterable[str]


@dataclass(frozen=True)
class RemoveResult:
    """What was taken out."""

    removed: int  # samples, by this call
    already: int  # of the keys or paths, how many were removed before
    shards: tuple[str, ...]  # that had one of the samples
    samples: int  # that are left
    out: str


def remove(shards: str | Path, *, keys: Listed | None = None, source: Listed | None = None) -> RemoveResult:
    """Take samples out of the finished folder `shards`, and never bring them back.

    `keys` or `source` says which: keys of samples, or paths as the ledger has them (below the source's folder absolute
    ones, too); a file with one per line, or the texts themselves. Every key and path has to be known. The surrogate has
    seen the images, and stays as it is.

    Raises `UsageError` where one is unknown, `ShardError` where a shard that has to be rewritten is damaged,
    `OutputError` where the run is not finished or README.md is somebody else's, `LedgerError`.
    """
    if (keys is None) == (source is None):
        raise UsageError("give either keys or source")
    out = local_path(shards, "shards")
    finished = Finished.of(out)
    with finished.ledger.locked():
        finished = Finished.of(out)  # as it is now that nobody else writes here
        remove_leftovers(out)
        _check_finished(finished)
        inputs = finished.ledger.inputs()
        by_key = keys is not None
        listed = _listed(keys if by_key else source)
        found = (_by_key if by_key else _by_source)(finished, inputs, listed)
        new = {row.number for row in found if not was_removed(row.reason)}
        counted = _published(finished.ledger, [row for row in found if row.number in new], by_key)
        for shard in counted:
            if broken := broken_files(out, stats_in(finished.ledger, shard), finished.ledger.digits):
                raise ShardError(f"{out / broken[0]} is damaged; semshard repair {out} comes first")
        if new:
            refuse_other_description(out)
            _write(finished, new, counted)
        if is_pending(out, finished.ledger.state()) or is_unrecorded(out, finished.ledger):
            settle(out, finished.ledger)
            publish_again(out)
    names = tuple(tar_name(shard, finished.ledger.digits) for shard in counted)
    samples = read_manifest(out)["counts"]["samples"]
    return RemoveResult(sum(counted.values()), len(found) - len(new), names, samples, str(out))


def publish_again(out: Path) -> None:
    """Write the manifest that the ledger describes."""
    finished = Finished.of(out)
    finished.publish(StatsOfShards(finished.shards, partial(stats_in, finished.ledger)))


def _check_finished(finished: Finished) -> None:
    try:
        read_manifest(finished.out)
    except ShardError as error:
        raise OutputError(f"{error}; semshard status {finished.out} says what to do") from None
    if any("stats" not in record_in(finished.ledger, shard) for shard in range(finished.shards)):
        raise OutputError(f"{finished.out} is not complete; semshard status {finished.out} says what to do")


def _listed(texts: Listed | None) -> list[str]:
    """The lines of a file, or the texts; each once, in order."""
    if isinstance(texts, str | Path):
        try:
            lines = Path(texts).read_text("utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{texts} cannot be read: {error}") from None
        texts = [line.removesuffix("\r") for line in lines]
    listed = list(dict.fromkeys(text for text in texts or () if text.strip()))
    if not listed:
        raise UsageError("the list is empty: nothing would be removed")
    return listed


def _by_key(finished: Finished, inputs: Iterable[InputRow], keys: list[str]) -> list[InputRow]:
    """The inputs that have those places in those shards. Raises `UsageError`."""
    length = len(sample_key(0, 0, finished.ledger.digits))
    wanted = {code_of(key): key for key in keys if len(key) == length and key.isdecimal() and key.isascii()}
    found = {
        wanted[code]: row
        for row in inputs
        if row.shard >= 0 and (code := row.shard * MOST_IN_SHARD + row.place) in wanted
    }
    return _all_known(keys, found, "key")


def _by_source(finished: Finished, inputs: Iterable[InputRow], paths: list[str]) -> list[InputRow]:
    root = f"{finished.known['source']}/"
    wanted = {name for path in paths for name in (path, path.removeprefix(root))}
    by_name = {row.source: row for row in inputs if row.source in wanted}
    found = {path: row for path in paths if (row := by_name.get(path) or by_name.get(path.removeprefix(root)))}
    return _all_known(paths, found, "path")


def _all_known(listed: list[str], found: dict[str, InputRow], what: str) -> list[InputRow]:
    unknown = [text for text in listed if text not in found]
    if unknown:
        count = f"{len(unknown)} of {len(listed)} {what}s are unknown, such as {unknown[0]!r}"
        raise UsageError(f"{count}; nothing was removed")
    return list({row.number: row for row in found.values()}.values())


def _published(ledger: Ledger, rows: list[InputRow], each: bool) -> Counter[int]:
    """How many of those inputs each shard publishes, in order. Raises `UsageError` where `each` has to be published."""
    counted, by_shard = Counter[int](), defaultdict[int, list[InputRow]](list)
    for row in rows:
        by_shard[row.shard].append(row)
    by_shard.pop(-1, None)
    for shard, here in sorted(by_shard.items()):
        keyed = {row.number for row in ledger.shard(shard) if row.key}
        missing = [row for row in here if row.number not in keyed]
        if each and missing:
            key = sample_key(shard, missing[0].place, ledger.digits)
            raise UsageError(f"{len(missing)} keys are unknown, such as {key!r}; nothing was removed")
        if len(here) > len(missing):
            counted[shard] = len(here) - len(missing)
    return counted


def _write(finished: Finished, new: set[int], counted: Counter[int]) -> None:
    """Write the ledger's list of inputs: from then on those are removed."""
    state: dict[str, Any] = finished.ledger.state()
    digits = finished.ledger.digits
    shards = [{"name": tar_name(shard, digits), "samples": count} for shard, count in counted.items()]
    entry = {"action": "remove", "samples": sum(counted.values()), "shards": shards}
    finished.ledger.reject(sorted(new), REMOVED, state | {"history": [*state.get("history", []), entry]})
