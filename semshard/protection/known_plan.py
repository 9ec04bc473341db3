"""What a ledger knows of its run: the collection, the plan, and what was changed since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..settings import ProtectConfig, to_json
from ..shards import ADDITIONS, Ledger, shard_in, was_removed
from ..sources import Collection, Source
from ..sources.decode import decoding_of


@dataclass(frozen=True)
class KnownPlan:
    """What a ledger says of the plan of its run."""

    shards: Sequence[NDArray[np.int64]]  # the inputs of each, in their places
    history: list[dict[str, Any]]

    @classmethod
    def of(cls, ledger: Ledger) -> KnownPlan | None:
        """That of a ledger; None where an earlier version of semshard wrote it, which did not keep the plan."""
        state = ledger.state()
        if "shards" not in state:
            return None
        columns = ledger.scanned()
        order = np.lexsort((columns["place"], columns["shard"]))
        order = order[columns["shard"][order] >= 0]
        ends = np.searchsorted(columns["shard"][order], np.arange(state["shards"]), side="right")
        return cls(np.split(order, ends)[:-1], state.get("history", []))


def first_shards(history: Sequence[Mapping[str, Any]]) -> int | None:
    """How many shards there were before any were added; None where none were."""
    added = (entry["shards"][0] for entry in history if entry["action"] in ADDITIONS and entry["shards"])
    return next((shard_in(name) for name in added), None)


def known_collection(source: Source, ledger: Ledger, config: ProtectConfig, run: Mapping[str, Any]) -> Collection:
    """What the scan of a run found, as its ledger says."""
    columns = ledger.scanned()
    sizes = np.stack([columns["height"], columns["width"]], 1).astype(np.int32)
    reasons = columns["reason"]
    rejects = {int(number): str(reasons[number]) for number in np.flatnonzero(reasons != "")}
    labels, decoding = columns["label"].astype(np.int32), decoding_of(to_json(config))
    return Collection(
        source, decoding, config.resolution, columns["sha256"], sizes, labels, rejects, tuple(run["classes"]),
        duplicates=run["duplicates"],
    )  # fmt: skip


def only_removed_differ(source: Source, ledger: Ledger) -> bool:
    """Whether the source has the inputs of the ledger with the same labels, but for some that were removed."""
    here = {entry.name: -1 if entry.label is None else entry.label for entry in map(source.entry, range(len(source)))}
    vanished = -2
    for row in ledger.inputs():
        expected = row.label if source.classes else -1
        if here.pop(row.source, vanished) != expected and not was_removed(row.reason):
            return False
    return not here
