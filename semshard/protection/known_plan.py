"""What a ledger knows of its run: the collection, the plan, and what was changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..progress import Event, Progress, Throttle
from ..settings import ProtectConfig, to_json
from ..shards import ADDITIONS, Ledger, shard_in, was_removed
from ..shards.input_row import array_of
from ..shards.plan_table import in_shards
from ..sources import Collection, Source, SourceOptions, open_source
from ..sources.collection import Origin, has_bytes
from ..sources.decode import decoding_of
from ..sources.in_order import InOrder
from ..threads import ordered_map
from .index_rows import source_of


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
        contents = ledger.index.known()
        if contents.plan is not None:
            return cls(_PlannedShards(ledger, state["shards"]), state.get("history", []))
        columns = ledger.scanned("shard", "place")  # of an earlier version, which wrote no plan beside the inputs
        numbers = np.arange(contents.inputs)
        return cls(in_shards(columns["shard"], columns["place"], numbers, state["shards"]), state.get("history", []))


class _PlannedShards(Sequence[NDArray[np.int64]]):
    """The inputs of each shard, read from the ledger when they are asked for, and then kept."""

    def __init__(self, ledger: Ledger, count: int) -> None:
        self._ledger, self._count = ledger, count
        self._asked = dict[int, NDArray[np.int64]]()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, shard: int) -> NDArray[np.int64]: ...

    @overload
    def __getitem__(self, shard: slice) -> list[NDArray[np.int64]]: ...

    def __getitem__(self, shard: int | slice) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        if isinstance(shard, slice):
            return list(self)[shard]
        number = range(self._count)[shard]
        if number not in self._asked:
            self._asked[number] = self._ledger.index.shard(number)
        return self._asked[number]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return self._ledger.index.shards()


def first_shards(history: Sequence[Mapping[str, Any]]) -> int | None:
    """How many shards there were before any were added; None where none were."""
    added = (entry["shards"][0] for entry in history if entry["action"] in ADDITIONS and entry["shards"])
    return next((shard_in(name) for name in added), None)


def known_collection(source: Source, ledger: Ledger, config: ProtectConfig, run: Mapping[str, Any]) -> Collection:
    """What the scan of a run found, as its ledger says."""
    columns = ledger.scanned("sha256", "height", "width", "label", "reason")
    sizes = np.stack([columns["height"], columns["width"]], 1).astype(np.int32)
    reasons = columns["reason"]
    rejects = {int(number): str(reasons[number]) for number in np.flatnonzero(reasons != "")}
    labels, decoding = columns["label"].astype(np.int32), decoding_of(to_json(config))
    return Collection(
        source, decoding, config.resolution, columns["sha256"], sizes, labels, rejects, tuple(run["classes"]),
        duplicates=run["duplicates"],
    )  # fmt: skip


def known_part(
    ledger: Ledger,
    config: ProtectConfig,
    run: Mapping[str, Any],
    numbers: NDArray[np.int64],
    source: Source | None = None,
) -> Collection:
    """Those inputs alone, numbered from 0, as `Collection.part` of the whole would have them; `run` as `Ledger.known`
    has it. Of the ledger only the rows of these inputs are read, and nothing is listed.

    `source` is the whole source, already open, for where it has moved. Without it, a source that cannot be read by rows
    (`about_source`) is opened again. Raises `SourceError`, `LedgerError`.
    """
    table, about = ledger.index.take(numbers), ledger.index.known().source
    if source is None and about is not None and about["spec"] == run["source"]:
        source = source_of(about, table)
    else:
        source = source or open_source(run["source"], SourceOptions(**run["source_options"]))
        source = InOrder(source, table["source"].to_pylist())
    columns = {name: array_of(table[name]) for name in ("sha256", "height", "width", "label", "reason")}
    sizes = np.stack([columns["height"], columns["width"]], 1)
    rejects = {place: str(columns["reason"][place]) for place in np.flatnonzero(columns["reason"] != "").tolist()}
    size = (run["size"][0], run["size"][1]) if run["size"] else None
    return Collection(
        source, decoding_of(to_json(config)), config.resolution, columns["sha256"], sizes, columns["label"], rejects,
        tuple(run["classes"]), origin=Origin(np.asarray(numbers, np.int64), size),
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


def has_changed(collection: Collection, progress: Progress) -> bool:
    """Whether an input that was scanned, and not removed since, has other bytes now. All are read, until one has."""
    removed = [number for number, reason in collection.rejects.items() if was_removed(reason)]
    numbers = np.setdiff1d(np.flatnonzero(collection.sha256.any(1)), removed).tolist()

    def is_same(number: int) -> bool:
        return has_bytes(collection.source, number, collection.sha256[number].tobytes())

    throttle = Throttle()
    for done, same in enumerate(ordered_map(is_same, numbers), 1):
        if not same:
            return True
        if throttle(done == len(numbers)):
            progress(Event("compare", done, len(numbers), "images"))
    return False
