"""Where the shards of a run are made: in this process, in local processes with a core each, or on a Ray cluster.

Processes of their own, because threads of one take turns at the interpreter's lock. Each reads, crafts, encodes and
writes whole shards; this process hands out the work, adds up rejects, and holds the lock, which they inherit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..atomic import remove_leftovers
from ..cores import allowed
from ..errors import SettingError
from ..noise.methods.ntga import needed
from ..progress import Event
from ..shards import was_removed
from ..sources import Collection
from ..sources.collection import PART_BYTES
from ..workers import LocalPool, WorkerOptions, pool_for
from .batches import BATCH_PIXELS, Craft, ShardWork, batches, load_batch
from .cluster import make_on_cluster
from .encoding import CHUNK_BYTES, Recipe
from .known_shards import KnownShard, known_shard, record_of
from .known_source import KnownSource
from .pipeline import Advanced, ShardOrder, make_shards
from .resume import Run
from .scan import limit_rejects

WORTH = 6.0  # seconds of crafting that starting workers is worth: each imports torch first
BASE = 1 << 29  # bytes of a worker that has loaded the libraries


@dataclass(frozen=True)
class Made:
    """How shards were made."""

    workers: int  # 0: in this process
    peaks: tuple[int, ...] = ()  # the most bytes resident, of each worker


def make_missing(
    run: Run,
    craft: Callable[[], Craft],
    plan: Sequence[NDArray[np.int64]],
    missing: Sequence[int],
    workers: int = -1,
    into: tuple[Path, Path] | None = None,
) -> Made:
    """Write the `missing` shards of a plan, or of the part of it that the run's request asks for, by so many processes
    (0: by this one, −1: as the request says, or as suits); `into` folders for shards and their ledger that are not
    those of the run. Raises `TooManyRejects`, and `RunError` where a process dies.
    """
    out, ledger = into or (run.out, run.ledger.path)
    order = ShardOrder(
        craft, run.config, Recipe(run.classes, run.fields, run.config.quality, run.ledger.digits), out, ledger,
        record_of(run),
    )  # fmt: skip
    count = _Count(run, plan, missing, others=into is None)
    on_cluster = run.request.workers.engine == "ray"
    if on_cluster:
        workers = 0
    suited = _workers(run, order, plan, missing) if workers < 0 else workers
    try:
        if on_cluster:
            make_on_cluster(run, order, _works(run, plan, missing, True, 0), len(missing), count.add)
            return Made(0)
        pool = pool_for(WorkerOptions(), suited, [run.ledger.lock] if run.ledger.lock is not None else [])
        with nullcontext() if into else run.output.publishing() as published:
            for stats in pool.run(make_shards, order, _works(run, plan, missing, bool(suited)), count.add):
                if published:
                    published(stats)
    except BaseException:
        for folder in (out, ledger):
            remove_leftovers(folder, everywhere=False)  # of workers that were killed
        raise
    return Made(suited, tuple(pool.peaks)) if isinstance(pool, LocalPool) else Made(0)


def _works(
    run: Run, plan: Sequence[NDArray[np.int64]], missing: Sequence[int], apart: bool, pixels: int = PART_BYTES
) -> Iterator[ShardWork]:
    """The missing shards; `apart` for other processes, each with so many bytes of known `pixels` at most."""
    for shard, known, collection, numbers in _inputs(run, plan, missing):
        if not apart:
            yield ShardWork(shard, collection, numbers, known.absent, known.moved, known.withheld)
            continue
        part = collection.part(numbers, pixels)
        assert part is not None
        yield ShardWork(shard, part, np.arange(len(numbers)), known.absent, known.moved, known.withheld)


def _inputs(
    run: Run, plan: Sequence[NDArray[np.int64]], shards: Sequence[int]
) -> Iterator[tuple[int, KnownShard, Collection, NDArray[np.int64]]]:
    """Each of those shards: what is known of it, a collection that has its inputs, and their numbers in this one."""
    source = run.collection.source
    if not isinstance(source, KnownSource):
        for shard in shards:
            known = known_shard(run, shard, plan[shard])
            yield shard, known, run.collection, known.numbers
        return
    every = [known_shard(run, shard, plan[shard]) for shard in shards]
    found = source.collections(run.config, [known.numbers for known in every])
    for shard, known, (collection, numbers) in zip(shards, every, found, strict=True):
        yield shard, known, collection, numbers


class _Count:
    """How many images are done, and how many inputs turned out to be unusable; in the `others` of the shards, too,
    unless these were finished by a run that counted them.
    """

    def __init__(self, run: Run, plan: Sequence[NDArray[np.int64]], missing: Sequence[int], others: bool) -> None:
        self._run, self._done, self._total = run, 0, sum(len(plan[shard]) for shard in missing)
        part = run.request.part
        share = part.every_nth(len(plan)) if part else range(len(plan))
        done = sorted(set(share) - set(missing)) if others and not run.history else []
        finished = run.output.stats_of(done)
        unusable = 0 if part else sum(not was_removed(reason) for reason in run.collection.rejects.values())
        self._rejected = unusable + sum(stats.rejected for stats in finished if stats)
        self._inputs = sum(len(plan[shard]) for shard in share) if part else len(run.collection.source)
        self._late, self._example = 0, ""
        self._check(f"; see {run.ledger.path}")

    def add(self, advanced: Advanced) -> None:
        """Raises `TooManyRejects`."""
        self._done += advanced.images + advanced.rejects
        self._rejected += advanced.rejects
        self._late += advanced.rejects
        self._example = self._example or advanced.example
        more = f" and {self._late - 1:,} more" if self._late > 1 else ""
        late = f"; found while shards were made: {self._example}{more}; bring them back. {self._run.output.anew}"
        self._check(late)

    def _check(self, where: str) -> None:
        run = self._run
        where = (
            f" in part {run.request.part}, which is measured by its own inputs{where}" if run.request.part else where
        )
        limit_rejects(self._rejected, self._inputs, run.request.max_rejects, where)
        run.request.progress(Event("craft", self._done, self._total, "images"))


# --- how many processes -------------------------------------------------------------------------------------------


def _workers(run: Run, order: ShardOrder, plan: Sequence[NDArray[np.int64]], missing: Sequence[int]) -> int:
    """As many as were asked for; otherwise as many as there are cores, missing shards, and room in memory; 0 where this
    process does as well alone.
    """
    asked, on_cpu = run.request.workers.workers, run.runtime.device.type == "cpu"
    if asked is not None and asked > 1 and not on_cpu:
        raise SettingError("one process uses a GPU: leave --workers out, or use --engine ray with --gpus-per-worker")
    most = min(asked or allowed(), len(missing))
    if asked is None:
        most = min(most, run.runtime.memory() // memory_of_worker(run))
    if most < 2 or not on_cpu or not (asked or _is_worth_it(run, order, plan, missing)):
        return 0
    source = run.collection.source
    if not isinstance(source, KnownSource) and run.collection.part(plan[missing[0]][:1]) is None:
        run.request.progress(
            Event("craft", message=f"{source.spec} can be read by this process only, which makes one shard at a time")
        )
        return 0
    return most


def _is_worth_it(run: Run, order: ShardOrder, plan: Sequence[NDArray[np.int64]], missing: Sequence[int]) -> bool:
    """Whether crafting takes long enough, by the time of its first batch."""
    found = (
        (collection, batch)
        for shard in missing
        for _, _, collection, numbers in _inputs(run, plan, [shard])
        for batch in batches(collection, run.config, numbers)
    )
    first = next(found, None)
    if first is None:
        return False
    batch = load_batch(*first, missing[0], 0)
    start = time.perf_counter()
    order.crafter(batch)
    images = sum(len(plan[shard]) for shard in missing)
    return (time.perf_counter() - start) / len(first[1]) * images > WORTH


def memory_of_worker(run: Run) -> int:
    """Bytes that a worker takes: the libraries, the pixels that travel with its shard, and twice a batch as float32
    beside what waits to be encoded.
    """
    config, size = run.config, run.collection.size
    if size is None:
        return BASE + 2 * 4 * 3 * BATCH_PIXELS + CHUNK_BYTES
    pixels = 3 * size[0] * size[1]
    kernel = needed(config.craft_batch, pixels) if config.method == "ntga" else 0
    return BASE + PART_BYTES + 2 * 4 * config.craft_batch * pixels + kernel
