"""A run's shards made on a Ray cluster: what travels, who may take part, and what becomes of a lost worker's shard.

Every node has to see the source, the folder of the shards and the ledger by the same paths. A worker shows that it does
before its first shard, and that it is a machine on which the bytes come out the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import remove_leftovers
from ..engine import deterministic, make_runtime
from ..errors import RunError, SettingError, ShardError
from ..measuring.machine import KINDS, kind_of_machine
from ..progress import remarks
from ..shards import ShardStats, done_stats, shard_name
from ..sources import Collection
from ..sources.collection import has_bytes
from ..workers import Report, pool_for
from ..workers.admission import Admission, Hello, Nonce, nonce_in, versions
from .batches import ShardWork
from .noise import Crafting
from .pipeline import ShardOrder, make_shards
from .resume import Run

PATIENCE = 90.0  # seconds until a shard that another machine wrote has to be seen here; NFS may take 60
_LOOK = 0.5  # seconds between two looks for it


def make_on_cluster(run: Run, order: ShardOrder, works: Iterable[ShardWork], most: int, report: Report) -> None:
    """Make the shards of `works`, at most `most` of them, by actors. Raises `SettingError` where a machine cannot take
    part, and `RunError` where shards could not be made, or are not seen here.
    """
    options = run.request.workers
    order = replace(order, out=order.out.absolute(), ledger=order.ledger.absolute())  # an actor starts elsewhere
    if isinstance(order.craft, Crafting):
        order = replace(order, craft=order.craft.with_weights())
    probe = _probe(run.collection)
    with nonce_in(run.ledger.path) as nonce:
        entrance = Entrance(nonce, probe, run.runtime.device.type, options.mixed_hardware)
        pool = pool_for(
            options,
            most,
            gpus=options.gpus(run.runtime.device.type == "cuda"),
            enter=entrance,
            admit=admission(run, entrance.describe(order)).check,
            lost=lambda work: left_behind(order, work, options.mixed_hardware),
            remark=remarks(run.request.progress, "craft"),
        )
        made = list(pool.run(make_shards_there, order, works, report))
    wait_until_seen(order.out, made, order.recipe.digits)


def make_shards_there(order: ShardOrder, works: Iterable[ShardWork], report: Report) -> Iterator[ShardStats]:
    """`make_shards` in another process."""
    with deterministic():
        yield from make_shards(order, works, report)


# --- who may take part --------------------------------------------------------------------------------------------


def _probe(collection: Collection) -> Collection:
    """One input, for workers to read. Raises `SettingError` where only this process can read the source."""
    probe = collection.part(collection.usable[:1], 0)
    if probe is None:
        raise SettingError(f"{collection.source.spec} can be read by this process only; leave --engine ray out")
    return probe


@dataclass(frozen=True)
class Entrance:
    """What a worker does first: it says what it is, and shows that it sees what the driver sees."""

    nonce: Nonce
    probe: Collection
    device: str  # its kind
    mixed: bool

    def __call__(self, order: ShardOrder) -> tuple[ShardOrder, Hello]:
        hello = self.describe(order)
        if self.mixed:  # the ledger says of every shard which machine made it
            made_on = {name: hello[name] for name in ("device", "torch")}
            order = replace(order, record={**order.record, "made_on": made_on})
        return order, hello

    def describe(self, order: ShardOrder) -> Hello:
        """Versions and kinds of this machine that the bytes depend on, and what it reads of two files."""
        device = make_runtime(self.device, order.config.precision).device
        readable = has_bytes(self.probe.source, 0, self.probe.sha256[0].tobytes())
        return {
            "nonce": self.nonce.read(),
            "source": "is read" if readable else "is not read",
            **versions(),
            **kind_of_machine(device),
        }


def admission(run: Run, expected: Hello) -> Admission:
    """What a worker is held against."""
    sights = {
        "nonce": f"does not see the files in {run.ledger.path}; --out has to be in a folder that all nodes share, by "
        "the same path",
        "source": f"cannot read {run.collection.source.spec}, or reads other bytes there",
    }
    return Admission(expected, sights, KINDS, run.request.workers.mixed_hardware)


# --- what lost workers leave ---------------------------------------------------------------------------------------


def left_behind(order: ShardOrder, work: ShardWork, mixed: bool) -> ShardStats | None:
    """Delete what a lost worker left half-written of a shard; its stats where it had finished it. Machines that differ
    may not come to the same bytes, so that a finished shard is no longer one, either.
    """
    digits = order.recipe.digits
    stem = shard_name(work.shard, digits)
    for folder in (order.out, order.ledger):
        remove_leftovers(folder, f"{stem}*")
    if mixed:
        (order.out / f"{stem}_stats.json").unlink(missing_ok=True)
        return None
    try:
        return done_stats(order.out, work.shard, digits)
    except ShardError:
        return None


def wait_until_seen(out: Path, made: Iterable[ShardStats], digits: int, patience: float = PATIENCE) -> None:
    """Wait until this machine sees what others wrote. Raises `RunError` where it does not."""
    until = time.monotonic() + patience
    for stats in made:
        while done_stats(out, stats.shard, digits) != stats:
            if time.monotonic() > until:
                raise RunError(
                    f"a worker says that it made shard {stats.shard}, but {out} does not have it; the "
                    "folder has to be the same one on all nodes"
                )
            time.sleep(_LOOK)
