"""What the ledger knows of a shard that was made before, so that it is made again with the same batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..errors import LedgerError
from ..measuring.machine import describe
from ..shards import Ledger, LedgerRow
from .known_source import KnownSource
from .resume import Run


@dataclass(frozen=True)
class KnownShard:
    """The inputs of a shard in their places, and what became of some of them."""

    numbers: NDArray[np.int64]
    absent: Mapping[int, str]  # place → why the input could not be read when the shard was made
    moved: frozenset[int]  # places of those among the absent that are accounted for elsewhere by now
    withheld: frozenset[int]  # places of inputs that were removed since


def known_shard(run: Run, shard: int, numbers: NDArray[np.int64]) -> KnownShard:
    """What is known of a shard that has those `numbers` in the plan."""
    rows, moved = rows_of(run.ledger, shard)
    every = numbers.tolist()
    for place, number in sorted(moved.items()):
        if number not in every:  # it is in another shard by now, but this place was its own
            every.insert(place, number)
    absent = dict.fromkeys(moved, "was absent when the shard was made")
    late = {row.number: row.reason for row in rows if row.reason}
    absent |= {place: reason for place, number in enumerate(every) if (reason := late.get(number))}
    removed = _removed(run, numbers)
    withheld = {place for place, number in enumerate(every) if place not in absent and number in removed}
    return KnownShard(np.array(every, np.int64), absent, frozenset(moved), frozenset(withheld))


def _removed(run: Run, numbers: NDArray[np.int64]) -> set[int]:
    """Those of the planned inputs that were removed since."""
    source = run.collection.source
    if not isinstance(source, KnownSource):
        return set(numbers.tolist()) & run.collection.rejects.keys()
    return source.rejected(numbers) if run.history else set()


def rows_of(ledger: Ledger, shard: int) -> tuple[list[LedgerRow], dict[int, int]]:
    """The ledger's rows of a shard, and the numbers of its absent inputs that are accounted for elsewhere, by place;
    nothing where the shard was not made yet, or its file in the ledger is damaged.
    """
    try:
        return ledger.shard(shard), dict(ledger.record(shard).get("absent", []))
    except LedgerError:
        return [], {}


def record_of(run: Run) -> dict[str, Any]:
    """What the ledger keeps with the inputs of every shard that is made now."""
    return {"made_on": made_on(run), "version": __version__, "carried": list(run.fields.carried)}


def made_on(run: Run) -> dict[str, str]:
    """What the bytes depend on besides source, settings and seed: the device, and the library."""
    machine = describe(run.runtime.device)
    return {name: machine[name] for name in ("device", "torch")}
