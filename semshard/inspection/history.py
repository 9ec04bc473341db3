"""Whether the history in a manifest fits its shards, and is the one that the ledger has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..errors import LedgerError
from ..shards import ADDITIONS, Ledger, Shards, shard_in, tar_name
from .failure import Failure


def broken_history(shards: Shards) -> Iterator[Failure]:
    """What is wrong with the history of finished shards."""
    history, count = shards.manifest.get("history", []), shards.count
    added = [name for entry in history if entry["action"] in ADDITIONS for name in entry["shards"]]
    if added != [tar_name(shard, shards.digits) for shard in range(max(0, count - len(added)), count)]:
        yield Failure("manifest.json", "", "its history adds other shards than the last ones")
    removed = 0
    for entry in (entry for entry in history if entry["action"] == "remove"):
        stated = {shard["name"]: shard["samples"] for shard in entry["shards"]}
        removed += entry["samples"]
        if sum(stated.values()) != entry["samples"] or not all(map(partial(_is_of, shards), stated)):
            yield Failure("manifest.json", "", f"its history removes {entry['samples']} samples, from {stated}")
    if removed > shards.manifest["counts"]["rejected"]:
        yield Failure("manifest.json", "", f"its history removes {removed} samples, its counts do not")
    ledger = Ledger(shards.ledger)
    if not ledger.path.exists():
        return
    try:
        if ledger.state().get("history", []) != history:
            yield Failure("manifest.json", "", "has another history than the ledger: was a change interrupted?")
    except LedgerError as error:
        yield Failure("ledger", "", str(error))


def _is_of(shards: Shards, name: str) -> bool:
    """Whether a tar of these shards has that name."""
    shard = shard_in(name)
    return shard is not None and shard < shards.count and name == tar_name(shard, shards.digits)
