"""A run on many workers, simulated: how long it takes, what is lost on the way, and what holds it up.

Arithmetic on numbers that are measured or assumed elsewhere. The phases follow each other as in `protect`: one machine
lists and scans, a few devices train the surrogate, workers make shards, one process finishes. Only the making of shards
is played event by event: the next free worker takes the next shard; a share of the shards is slow; a worker that fails
or is preempted loses the shard in hand, which the next free worker begins again; all bytes pass one storage.

Of very many shards only the last are played so. Before, every worker is busy, so their time is the work divided by the
workers, and how far each then is from its next shard is drawn from the renewal process that it is in.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR = 3600.0
SLOWEST = 10.0  # times the typical time of a shard; the engines end what takes longer
LEAST_SLOW, TAIL_EXPONENT = 1.5, 3.0  # of the Pareto distribution of slow shards: 22 % of them above 2.5 times
PLAYED, ROUNDS = 2_000, 8  # shards that are played event by event: so many, or so many per worker

_READY, _LOST, _CRAFTED = range(3)


@dataclass(frozen=True)
class Workload:
    """What a collection costs. Core-seconds are of one core of a worker, device-seconds of one GPU; without GPUs the
    noise takes core-seconds, too.
    """

    inputs: int
    images: int  # usable inputs
    shard_size: int
    listing: float = 0.0  # seconds per input, of one process
    scan: float = 0.0  # core-seconds per input
    surrogate: float = 0.0  # seconds on one device
    repeated: float = 0.0  # share of the surrogate's step that every device repeats
    read: float = 0.0  # core-seconds per image, before its noise is made
    craft: float = 0.0  # core- or device-seconds per image
    encode: float = 0.0  # core-seconds per image, encoded and written
    finish: float = 0.0  # seconds per shard, of one process
    bytes_in: float = 0.0  # read per input, once by the scan and once by crafting
    bytes_out: float = 0.0  # written per image

    @property
    def shards(self) -> int:
        return -(-self.images // self.shard_size)


@dataclass(frozen=True)
class Cluster:
    """The machines that a run is forecast for. What cannot be measured beforehand has a default, which is an
    assumption:

    `failures` are of the training of Llama 3 (419 in 54 days on 16,384 GPUs, arXiv 2407.21783), per worker and hour;
    `stragglers`, the share of shards that take 1.5 to 10 times as long as others, and `gpu_share`, the share of its
    `gpu_rates` that a GPU reaches, are guesses; `gpu_rates`, operations and bytes per second, were measured on an
    NVIDIA H200.
    """

    workers: int  # each makes one shard at a time; a single one is the process that does everything else, too
    gpus: int = 0  # that the workers share; 0: their cores make the noise
    cores: int = 1  # of each worker
    scan_cores: int = 0  # of the machine that lists and scans; 0: as many as where it is measured
    surrogate_devices: int = 1
    speed: float = 1.0  # of a worker's core, in cores of the machine where it was measured
    gpu_images: float = 0.0  # images per second that one GPU crafts; 0: measured here, or counted
    gpu_rates: tuple[float, float] = (788e12, 4.3e12)
    gpu_share: float = 0.25
    start: float = -1.0  # seconds until a new worker is ready; below 0: as measured
    stragglers: float = 0.05
    failures: float = 2e-5
    preemptions: float = 0.0  # per worker and hour
    replacement: float = 120.0  # seconds until another machine is there for a preempted one
    bandwidth: float = math.inf  # bytes per second, of the storage, for all workers together
    cost_per_hour: float = 0.0  # of a worker with its share of a GPU, in any currency


@dataclass(frozen=True)
class SimulatedRun:
    """Seconds of each phase of one run, and what was lost."""

    start: float
    listing: float
    scan: float
    surrogate: float
    craft: float  # with the start of the workers
    finish: float
    made: int  # shards
    lost: int  # shards that were begun and lost

    @property
    def total(self) -> float:
        return self.start + self.listing + self.scan + self.surrogate + self.craft + self.finish

    def worker_hours(self, cluster: Cluster) -> float:
        """Of workers that are there only while they are used: those of the shards from the beginning of the first to
        the end of the last.
        """
        alone = self.start + self.listing + self.scan + self.finish
        return (alone + cluster.surrogate_devices * self.surrogate + cluster.workers * self.craft) / HOUR


@dataclass(frozen=True)
class Spread:
    """Of several simulated runs: the median, and what a tenth of them is below and above."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(*(float(value) for value in np.percentile(values, (10, 50, 90))))


def shard_seconds(work: Workload, cluster: Cluster) -> float:
    """What a worker takes for a full shard, without its way to the storage. Beside a GPU its cores read and encode
    other images.
    """
    at_cores = work.read + work.encode + (0.0 if cluster.gpus else work.craft)
    at_gpu = work.craft * cluster.workers / cluster.gpus if cluster.gpus else 0.0
    return work.shard_size * max(at_cores / cluster.cores, at_gpu)


def simulate(work: Workload, cluster: Cluster, seed: int) -> SimulatedRun:
    """One run; the same arguments give the same run."""
    random = np.random.default_rng([seed, 24])
    start = max(0.0, cluster.start)
    scan = work.inputs * max(work.scan / max(1, cluster.scan_cores), work.bytes_in / cluster.bandwidth)
    surrogate = work.surrogate * (work.repeated + (1 - work.repeated) / cluster.surrogate_devices)
    rate = (cluster.failures + cluster.preemptions) * cluster.surrogate_devices / HOUR
    interrupted = int(random.poisson(rate * surrogate))  # it continues from a checkpoint
    craft, made, lost = _Shards(work, cluster, random).play()
    return SimulatedRun(
        start=start,
        listing=work.inputs * work.listing,
        scan=scan,
        surrogate=surrogate + interrupted * (start + cluster.replacement),
        craft=craft + (start if cluster.workers > 1 else 0.0),
        finish=work.shards * work.finish,
        made=made,
        lost=lost,
    )


class _Shards:
    """The shards of a run, and the workers that make them."""

    def __init__(self, work: Workload, cluster: Cluster, random: np.random.Generator) -> None:
        self._work, self._cluster, self._random = work, cluster, random
        self._rate = (cluster.failures + cluster.preemptions) / HOUR
        self._preempted = cluster.preemptions / (cluster.failures + cluster.preemptions) if self._rate else 0.0
        size = work.shard_size
        self._sizes = np.full(work.shards, 1.0)
        self._sizes[-1:] = (work.images - size * (work.shards - 1)) / size  # the last one may be smaller
        self._seconds = shard_seconds(work, cluster) * self._sizes * self._factors()
        transfer = (work.bytes_out + (work.bytes_in if work.read else 0.0)) * size / cluster.bandwidth
        self._transfers = self._sizes * transfer

    def _factors(self) -> Floats:
        """How much longer each shard takes than a typical one."""
        random, shards = self._random, self._work.shards
        slow = random.random(shards) < self._cluster.stragglers
        pareto = LEAST_SLOW * (1 - random.random(shards)) ** (-1 / TAIL_EXPONENT)
        return np.where(slow, np.minimum(pareto, SLOWEST), 1.0)

    def play(self) -> tuple[float, int, int]:
        """Seconds until the last shard is written, how many were made, and how many lost on the way."""
        workers, shards = self._cluster.workers, self._work.shards
        played = max(PLAYED, ROUNDS * workers)
        first = 0 if shards <= 2 * played else (shards - played) // workers * workers
        ready, free, lost = self._bulk(first)
        end, made, more = self._events(first, ready, free)
        return end, first + made, lost + more

    def _away(self, lost: int) -> Floats:
        """How long the workers of so many lost shards are not there."""
        preempted = self._random.random(lost) < self._preempted
        return np.asarray(max(0.0, self._cluster.start) + preempted * self._cluster.replacement, np.float64)

    def _bulk(self, first: int) -> tuple[list[float], float, int]:
        """When each worker is ready for the shards from `first` on, when the storage is, and the lost ones before."""
        workers = self._cluster.workers
        if not first:
            return [0.0] * workers, 0.0, 0
        random, seconds = self._random, self._seconds[:first]
        needed, lost = seconds + self._transfers[:first], 0
        trying = np.arange(first) if self._rate else np.arange(0)
        while len(trying):
            until = random.exponential(1 / self._rate, len(trying))
            failed = until < seconds[trying]
            trying, until = trying[failed], until[failed]
            needed[trying] += until + self._away(len(trying))
            lost += len(trying)
        left = np.zeros(workers)  # until each is ready, once the last of these shards is begun
        if lost or self._cluster.stragglers:
            met = random.choice(needed, workers, p=needed / needed.sum())  # a longer one is met more often
            left = met * random.random(workers)
        begun = max((needed.sum() - left.sum()) / workers, self._transfers[:first].sum() - left.max())
        return (begun + left).tolist(), float(self._transfers[:first].sum()), lost

    def _events(self, first: int, ready: list[float], free: float) -> tuple[float, int, int]:
        """The shards from `first` on, event by event: when the last is written, how many were made, how many lost."""
        queue, idle = deque(range(first, self._work.shards)), deque[int]()
        end, made, lost = 0.0, 0, 0
        in_hand = [-1] * self._cluster.workers
        events = [(time, _READY, worker) for worker, time in enumerate(ready)]
        heapq.heapify(events)
        while events:
            time, kind, worker = heapq.heappop(events)
            if kind == _CRAFTED:
                free = max(time, free) + float(self._transfers[in_hand[worker]])
                end, made = max(end, free), made + 1
                heapq.heappush(events, (free, _READY, worker))
                continue
            if kind == _LOST:
                queue.appendleft(in_hand[worker])
                lost += 1
                heapq.heappush(events, (time + float(self._away(1)[0]), _READY, worker))
            else:
                idle.append(worker)
            while queue and idle:
                worker, shard = idle.popleft(), queue.popleft()
                in_hand[worker], seconds = shard, float(self._seconds[shard])
                until = self._random.exponential(1 / self._rate) if self._rate else math.inf
                kind = _LOST if until < seconds else _CRAFTED
                heapq.heappush(events, (time + min(until, seconds), kind, worker))
        return end, made, lost


# --- several runs ----------------------------------------------------------------------------------------------------

RUNS, RUNS_OF_CHANGES = 40, 5


@dataclass(frozen=True)
class Simulation:
    """What several runs have in common, and what holds them up."""

    seconds: dict[str, Spread]  # by phase, and in all
    worker_hours: float  # median, of workers that are there only while they are used
    waiting_hours: float  # that the workers would wait if all were there from the start to the end
    lost: float  # shards, the mean
    saved: dict[str, float]  # seconds of the median that half as much of something would save
    bottleneck: str  # of which half as much would save most

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def simulate_several(work: Workload, cluster: Cluster, runs: int = RUNS) -> Simulation:
    """Runs with the seeds 0, 1, …, and runs with less of one thing at a time."""
    done = [simulate(work, cluster, seed) for seed in range(runs)]
    phases = ("start", "listing", "scan", "surrogate", "craft", "finish", "total")
    seconds = {phase: Spread.of([getattr(run, phase) for run in done]) for phase in phases}
    hours = float(np.median([run.worker_hours(cluster) for run in done]))
    few = min(runs, RUNS_OF_CHANGES)
    now = float(np.median([run.total for run in done[:few]]))
    saved = {
        name: now - float(np.median([simulate(*changed, seed).total for seed in range(few)]))
        for name, changed in _changes(work, cluster).items()
    }
    return Simulation(
        seconds=seconds,
        worker_hours=hours,
        waiting_hours=cluster.workers * seconds["total"].median / HOUR - hours,
        lost=float(np.mean([run.lost for run in done])),
        saved=saved,
        bottleneck=max(saved, key=lambda name: saved[name]),
    )


def _changes(work: Workload, cluster: Cluster) -> dict[str, tuple[Workload, Cluster]]:
    """The run with half as much of one thing, or without it."""
    fewer = {
        "cores": replace(work, encode=work.encode / 2, craft=work.craft / (1 if cluster.gpus else 2)),
        "GPUs": replace(work, craft=work.craft / (2 if cluster.gpus else 1)),
        "surrogate": replace(work, surrogate=work.surrogate / 2),
        "listing": replace(work, listing=work.listing / 2),
        "reading": replace(work, scan=work.scan / 2, read=work.read / 2, bytes_in=work.bytes_in / 2),
        "writing": replace(work, bytes_out=work.bytes_out / 2),
        "finish": replace(work, finish=work.finish / 2),
        "shard size": replace(work, shard_size=max(1, work.shard_size // 2), finish=work.finish / 2),
    }
    kinder = {
        "stragglers": replace(cluster, stragglers=0.0),
        "failures": replace(cluster, failures=0.0, preemptions=0.0),
    }
    return {name: (changed, cluster) for name, changed in fewer.items()} | {
        name: (work, changed) for name, changed in kinder.items()
    }
