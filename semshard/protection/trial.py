"""A few real steps of a run on a sample of its inputs: what they take on this machine, and how large the result is."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..digests import sha256_of
from ..engine import Runtime, batch_numbers, save_tensors
from ..measuring.timing import medians
from ..noise import NamedNetwork, SurrogateTraining, initial_noise, networks_of, new_surrogate
from ..noise.methods import Noise
from ..noise.views import make_view
from ..settings import ProtectConfig
from ..shards import Ledger, ShardStats, done_stats
from ..sources import Collection, Source, scan, with_groups
from ..sources.decode import decoding_of
from ..workers import LocalPool, Report
from .batches import Batch, ShardWork, batches, craft_batch, load_batch
from .encoding import Recipe, encode_batches
from .noise import Crafting, held_out, noise_of
from .pipeline import ShardOrder, make_shard, write_shards
from .request import GROUPS, Request
from .resume import fields_of
from .scan import remark_notes
from .training_images import TrainingImages, squashed_side

SAMPLE = 256  # inputs that are really read
_REPEATS, _MORE = 3, 15
_SHORT = 0.5  # seconds; what takes less is measured more often
_SHARDS = 4  # that each worker makes; the first of them is not counted


@dataclass(frozen=True)
class SampleScan:
    """Evenly spread inputs, and what a scan of them found."""

    numbers: NDArray[np.int64]
    collection: Collection
    seconds: float  # per input, by all cores

    @property
    def usable(self) -> NDArray[np.int64]:
        rejects = self.collection.rejects
        return np.setdiff1d(self.numbers, np.fromiter(rejects, np.int64, len(rejects)))

    def images(self, inputs: int) -> int:
        """How many of so many inputs are usable, if they are like these."""
        return round(inputs * len(self.usable) / len(self.numbers))


def scan_sample(source: Source, request: Request) -> SampleScan:
    """Raises `SourceError` where none of the inputs is usable."""
    numbers = np.unique(np.linspace(0, len(source) - 1, min(len(source), SAMPLE)).astype(np.int64))
    pictures = request.pictures()
    decoding, resolution = decoding_of(pictures), pictures["resolution"]
    scan(source, decoding, resolution, numbers[:1].tolist(), need_one=False)  # loads the decoders
    start = time.perf_counter()
    collection = scan(source, decoding, resolution, numbers.tolist())
    seconds = (time.perf_counter() - start) / len(numbers)
    remark_notes(collection.notes.values(), request.progress, f"of {len(numbers):,} images read")
    if not source.classes:  # as good as any groups to measure the time with
        groups = pictures["groups"] or GROUPS
        with_groups(collection, {n: n % groups for n in numbers.tolist()}, tuple(map(str, range(groups))))
    return SampleScan(numbers, collection, seconds)


@dataclass(frozen=True)
class WorkerTimes:
    """What worker processes take, all at work at the same time."""

    image: float  # seconds of one worker per image, crafted, encoded and written
    start: float  # seconds until the first worker begins to work


@dataclass(frozen=True)
class EncodedTimes:
    """What an image takes whose noise is made."""

    encode: float  # core-seconds, encoded and written
    finish: float  # seconds of the process that finishes, for what is known of it in its shard
    bytes: float  # of tar and table


@dataclass(frozen=True)
class Trial:
    """A few steps of a run on a sample of its images, `usable`; what they write goes into `folder`."""

    runtime: Runtime
    collection: Collection
    config: ProtectConfig
    usable: NDArray[np.int64]
    folder: Path

    @functools.cached_property
    def model(self) -> nn.Module | None:
        """An untrained surrogate: it takes as long as a trained one."""
        if not self.config.has_surrogate:
            return None
        return new_surrogate(self.config, len(self.collection.classes), self.collection.size, self.runtime)

    @functools.cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The inputs of a batch."""
        return next(batches(self.collection, self.config, self.usable))

    def surrogate(self) -> float:
        """Seconds of the surrogate's training, all cores or the device at work; 0 for methods without one. What comes
        before its first step counts where nothing else was measured before.
        """
        start = time.perf_counter()
        if self.model is None:
            return 0.0
        networks = networks_of(self.model, self.config)
        actions = {each.name: self._step(each) for each in networks}
        for action in actions.values():
            action()
        first = time.perf_counter() - start
        times = medians(actions, _REPEATS, self.runtime.device)
        if sum(times.values()) < _SHORT:
            times = medians(actions, min(_MORE, self.config.steps), self.runtime.device)
        return max(0.0, first - sum(times.values())) + sum(each.config.steps * times[each.name] for each in networks)

    def here(self) -> tuple[float, float]:
        """Seconds and bytes of the tar per image, crafted, encoded and written by this process with all its cores."""
        made = list[ShardStats]()
        actions = {"craft": lambda: made.append(self._written(self._crafted()))}
        times = medians(actions, _REPEATS, self.runtime.device)
        return times["craft"] / len(self.numbers), made[-1].bytes / len(self.numbers)

    def noise(self) -> float:
        """Seconds per image whose noise is made on the device."""
        times = medians({"craft": self._crafted}, _REPEATS, self.runtime.device)
        return times["craft"] / len(self.numbers)

    def encoded(self, most: int = SAMPLE) -> EncodedTimes:
        """What a shard takes after its noise is made, at most so many different ones."""
        batch = self._repeated(self._crafted(most), min(SAMPLE, self.config.shard_size))
        images = len(batch.inputs)
        self._written(batch)
        start = time.process_time()
        stats = self._written(batch)
        seconds = time.process_time() - start
        start = time.perf_counter()
        for _ in range(_REPEATS):
            done_stats(self._order.out, 0, self._order.recipe.digits)
            Ledger(self._order.ledger, self._order.recipe.digits).shard(0)
        finish = (time.perf_counter() - start) / _REPEATS
        return EncodedTimes(seconds / images, finish / images, (stats.bytes + stats.parquet_bytes) / images)

    def in_workers(self, workers: int, cores: int) -> WorkerTimes | None:
        """What so many processes with so many cores each take; None where only this process can read the source."""
        part = self.collection.part(self.numbers)
        if part is None:
            return None
        works = (ShardWork(shard, part, np.arange(len(self.numbers))) for shard in range(_SHARDS * workers))
        start, first, seconds = time.perf_counter(), 0.0, list[float]()
        for timed in LocalPool(workers, workers * cores).run(make_timed, self._order, works, lambda message: None):
            first = first or time.perf_counter() - start
            if timed.stats.shard >= workers:  # by then each has made one
                seconds.append(timed.seconds / len(self.numbers))
        each = statistics.median(seconds)
        return WorkerTimes(each, max(0.0, first - each * len(self.numbers)))

    @functools.cached_property
    def _noise(self) -> Noise:
        return noise_of(self.runtime, self.collection, self.config, self.model)

    @functools.cached_property
    def _order(self) -> ShardOrder:
        collection, config = self.collection, self.config
        out, ledger, weights = (self.folder / name for name in ("shards", "ledger", "surrogate.safetensors"))
        for folder in (out, ledger):
            folder.mkdir()
        surrogate, sha256 = None, ""
        if self.model is not None:
            save_tensors(weights, self.model.state_dict(), {})
            surrogate, sha256 = weights, sha256_of(weights)
        crafting = Crafting(
            None, config, len(collection.classes), collection.size, self.runtime, surrogate, sha256,
            held_out(collection, config),
        )  # fmt: skip
        recipe = Recipe(collection.classes, fields_of(config, collection.source), config.quality)
        return ShardOrder(crafting, config, recipe, out, ledger)

    def _crafted(self, most: int = SAMPLE) -> Batch:
        return craft_batch(self._noise, load_batch(self.collection, self.numbers[:most], 0, 0))

    def _repeated(self, few: Batch, count: int) -> Batch:
        """So many images with the noise of a few, in turn."""
        assert few.protected is not None
        turns = np.resize(np.arange(len(few.images)), count)
        whole = load_batch(self.collection, np.array([few.inputs[place][1] for place in turns], np.int64), 0, 0)
        protected = few.protected
        chosen = protected[turns] if isinstance(protected, np.ndarray) else [protected[place] for place in turns]
        return replace(whole, protected=chosen)

    def _written(self, batch: Batch) -> ShardStats:
        """Encodes a batch and writes it as a shard."""
        (stats,) = write_shards(self._order, encode_batches(iter([batch]), self._order.recipe))
        return stats

    def _step(self, network: NamedNetwork) -> Callable[[], object]:
        """A step of the training of one of the surrogate's networks."""
        config, collection = network.config, self.collection
        side = squashed_side(collection, config)
        data = TrainingImages(collection, self.usable, side)
        kept = initial_noise(config, config.batch, collection.size or (side, side), self.runtime)
        training = SurrogateTraining.of(
            self.runtime, network.model, make_view(config, collection.size)[0], config, kept
        )
        numbers = batch_numbers(len(data), config.batch, config.seed, 0)
        return lambda: training.step(0, *data.batch(numbers))


@dataclass(frozen=True)
class TimedShard:
    """A shard, and the seconds that a worker took for it."""

    seconds: float
    stats: ShardStats


def make_timed(order: ShardOrder, works: Iterable[ShardWork], report: Report) -> Iterator[TimedShard]:
    """The job of a worker: shards, each with its time."""
    for work in works:
        start = time.perf_counter()
        stats = make_shard(order, work)
        yield TimedShard(time.perf_counter() - start, stats)


def start_seconds() -> float:
    """Seconds until a new worker process is ready to work."""
    start = time.perf_counter()
    for _ in LocalPool(1, 1).run(_nothing, None, [None], lambda message: None):
        pass
    return time.perf_counter() - start


def _nothing(order: None, works: Iterable[None], report: Report) -> Iterator[None]:
    """The job of a worker that has only loaded the libraries."""
    yield from works
