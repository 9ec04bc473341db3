"""The forecast: how long a run takes on other machines, from a few real steps on this one and a simulation."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cores import allowed
from ..errors import SettingError
from ..measuring.cost import Network, network
from ..measuring.simulation import RUNS, Cluster, Spread, Workload, simulate_several
from ..noise.methods import cost
from ..noise.views import make_view
from ..progress import Event, Progress, silent
from ..settings import ProtectConfig, to_json
from ..sources import Collection, Source, SourceOptions
from ..sources.collection import CACHE_BYTES
from .request import Request
from .trial import SampleScan, Trial, scan_sample, start_seconds

_FEW = 8  # images that are crafted here where GPUs craft the others
_SIZES = 32  # inputs whose bytes are counted
_LONG = 2.0  # seconds


@dataclass(frozen=True)
class Forecast:
    """What a run on other machines would take. What was not measured is in `assumed`, a sentence each."""

    inputs: int
    images: int
    classes: int
    width: int  # 0 where each image has its own size, which it keeps
    height: int
    shards: int
    bytes_read: int  # by the scan, and again by crafting where the pixels do not stay in memory
    bytes_written: int
    seconds: dict[str, Spread]  # by phase, and in all
    images_per_second: float  # while shards are made
    lost_shards: float  # begun and lost with their worker, the mean
    worker_hours: float  # of workers that are there only while they are used
    waiting_hours: float  # that they would wait if all were there from the start to the end
    cost: float  # of the worker hours; 0 where no price is given
    cost_per_million: float  # images
    bottleneck: str
    saved: dict[str, float]  # seconds that half as much of something would save
    measured: dict[str, float]  # of one core, device or process, by the names of `Workload`
    assumed: tuple[str, ...]
    runs: int  # that were simulated
    cluster: Cluster
    settings: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What has no limit is null."""
        cluster = asdict(self.cluster)
        if math.isinf(self.cluster.bandwidth):
            cluster["bandwidth"] = None
        return asdict(self) | {"cluster": cluster}


def forecast(
    source: str | Path,
    cluster: Cluster | None = None,
    *,
    images: int = 0,
    runs: int = RUNS,
    preset: str = "auto",
    surrogate: str | Path | None = None,
    device: str = "auto",
    options: SourceOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Forecast:
    """What `protect` would take on the machines of `cluster`; by default with a worker for each core of this one.

    Reads an evenly spread sample of the inputs, takes a few steps of the surrogate and makes a few shards in worker
    processes; then so many `runs` are simulated. `images` is the number of inputs where the source is larger elsewhere.
    Raises as `protect` does, as far as the sample shows it, and `SettingError` for impossible machines.
    """
    cluster = cluster or Cluster(allowed())
    check_cluster(cluster)
    cluster = replace(cluster, scan_cores=cluster.scan_cores or allowed())
    if not cluster.gpus and device not in ("auto", "cpu"):
        raise SettingError(f"without GPUs the cores of the workers make the noise, not {device}")
    request = Request(
        source, preset, surrogate, device=device if cluster.gpus else "cpu", options=options or SourceOptions(),
        progress=progress, settings=settings,
    )  # fmt: skip
    runtime = request.runtime()
    if cluster.gpus and preset == "auto" and runtime.device.type == "cpu":
        request = replace(request, preset="paper")
    opened, seconds = _opened(request)
    listing = seconds / max(1, len(opened))
    sample = scan_sample(opened, request)
    config = request.config(sample.collection.size, runtime)
    progress(Event("start", message="measuring a few steps"))
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(runtime, sample.collection, config, sample.usable, Path(folder))
        measured = _Measured(trial, sample, cluster, listing, with_surrogate=not surrogate)
        inputs = images or len(opened)
        work, ready, assumed = measured.workload(inputs, opened)
    cluster = cluster if cluster.start >= 0 else replace(cluster, start=ready)
    simulation = simulate_several(work, cluster, runs)
    height, width = sample.collection.size or (0, 0)
    price = simulation.worker_hours * cluster.cost_per_hour
    return Forecast(
        inputs=inputs,
        images=work.images,
        classes=len(sample.collection.classes),
        width=width,
        height=height,
        shards=work.shards,
        bytes_read=round(work.bytes_in * inputs * (2 if work.read else 1)),
        bytes_written=round(work.bytes_out * work.images),
        seconds=simulation.seconds,
        images_per_second=work.images / max(1e-9, simulation.seconds["craft"].median),
        lost_shards=simulation.lost,
        worker_hours=simulation.worker_hours,
        waiting_hours=simulation.waiting_hours,
        cost=price,
        cost_per_million=price / max(1, work.images) * 1e6,
        bottleneck=simulation.bottleneck,
        saved=simulation.saved,
        measured={name: value for name, value in asdict(work).items() if isinstance(value, float)},
        assumed=(*assumed, *assumptions(cluster)),
        runs=runs,
        cluster=cluster,
        settings=to_json(config),
    )


def _opened(request: Request) -> tuple[Source, float]:
    """The source and the seconds that listing it takes; a short listing is timed again, with all libraries loaded."""
    for _ in range(2):
        start = time.perf_counter()
        opened = request.open()
        seconds = time.perf_counter() - start
        if seconds > _LONG:
            break
    return opened, seconds


def check_cluster(cluster: Cluster) -> None:
    """Raise `SettingError` for machines that cannot be."""
    if cluster.gpus > cluster.workers:
        raise SettingError(
            f"{cluster.gpus} GPUs for {cluster.workers} workers: a worker uses one GPU; ask for more workers"
        )
    for name in ("workers", "cores", "surrogate_devices", "speed", "gpu_share", "bandwidth"):
        if not getattr(cluster, name) > 0:
            raise SettingError(f"{name} must be above 0")
    for name in (
        "gpus",
        "scan_cores",
        "gpu_images",
        "stragglers",
        "failures",
        "preemptions",
        "replacement",
        "cost_per_hour",
    ):
        if getattr(cluster, name) < 0:
            raise SettingError(f"{name} must not be below 0")
    if cluster.stragglers > 1 or cluster.gpu_share > 1:
        raise SettingError("stragglers and gpu_share are shares: at most 1")


def assumptions(cluster: Cluster) -> list[str]:
    """What a simulation on these machines assumes, a sentence each."""
    said = []
    if cluster.speed != 1:
        said.append(f"a core of a worker is taken as {cluster.speed:g} of a core of this machine")
    if cluster.stragglers:
        said.append(f"{cluster.stragglers:.1%} of the shards take 1.5 to 10 times as long as the others")
    for what, rate in (("fails", cluster.failures), ("is preempted", cluster.preemptions)):
        if rate:
            often = f"{rate:g} times per hour" if rate >= 1 else f"once in {1 / rate:,.0f} hours"
            said.append(f"a worker {what} {often}, and loses the shard in hand")
    if not math.isinf(cluster.bandwidth):
        said.append(f"the storage moves {cluster.bandwidth / 1e9:g} GB/s for all workers together")
    return said


@dataclass(frozen=True)
class _Measured:
    """A trial on this machine, as the workload of another."""

    trial: Trial
    sample: SampleScan
    cluster: Cluster
    listing: float  # seconds per input
    with_surrogate: bool

    def workload(self, inputs: int, source: Source) -> tuple[Workload, float, list[str]]:
        """The workload of so many inputs, the seconds until a worker is ready, and what of it was not measured."""
        cluster, config, collection, speed = self.cluster, self.trial.config, self.sample.collection, self.cluster.speed
        elsewhere = bool(cluster.gpus) and self.trial.runtime.device.type == "cpu"
        surrogate = self.trial.surrogate() if self.with_surrogate and not elsewhere else 0.0
        written = self.trial.encoded(_FEW) if elsewhere else self.trial.encoded()
        if elsewhere:
            craft, surrogate, ready, assumed = self._counted()
        else:
            craft, ready, assumed = self._timed(written.encode)
        if not cluster.gpus:
            craft, surrogate = craft / speed, surrogate / speed
        images, scan = self.sample.images(inputs), self.sample.seconds * allowed() / speed
        in_memory = _pixels(collection) * images <= CACHE_BYTES
        sizes = [_bytes(source, number) for number in self.sample.usable[:_SIZES].tolist()]
        shard_size = config.shard_size
        if source.shards:
            shard_size = max(1, round(len(source) / len(source.shards)))
            assumed.append(f"shards have {shard_size:,} images, as the source's own have on average")
        work = Workload(
            inputs=inputs,
            images=images,
            shard_size=shard_size,
            listing=self.listing / speed,
            scan=scan,
            surrogate=surrogate if self.with_surrogate else 0.0,
            repeated=_repeated(config),
            read=0.0 if in_memory else scan,
            craft=craft,
            encode=written.encode / speed,
            finish=written.finish * shard_size / speed,
            bytes_in=float(np.mean(sizes)),
            bytes_out=written.bytes,
        )
        return work, ready / speed, assumed

    def _timed(self, encode: float) -> tuple[float, float, list[str]]:
        """Seconds of crafting an image here, and until a worker is ready; what was not measured.

        On a CPU workers are measured as they would be at work: as many at once as the cores here allow.
        """
        trial, cluster, assumed = self.trial, self.cluster, list[str]()
        if trial.runtime.device.type != "cpu":
            given = 1 / cluster.gpu_images if cluster.gpu_images else trial.noise()
            return given, start_seconds(), assumed
        cores = min(cluster.cores, allowed())
        if cores < cluster.cores:
            assumed.append(
                f"{cluster.cores} cores of a worker are taken as {cluster.cores / cores:g} times {cores} here"
            )
        times = trial.in_workers(min(cluster.workers, allowed() // cores), cores)
        if times is None:
            if cluster.workers > 1:
                where = trial.collection.source.spec
                raise SettingError(f"{where} can be read by one process only: there cannot be more than one worker")
            return trial.noise() * allowed(), start_seconds(), assumed
        return max(0.0, times.image * cores - encode), times.start, assumed

    def _counted(self) -> tuple[float, float, float, list[str]]:
        """The same of GPUs that are not here, with the seconds of the surrogate in second place: by arithmetic."""
        cluster, config = self.cluster, self.trial.config
        passes = cost(config)
        if passes is None and config.method != "sc" and not cluster.gpu_images:
            raise SettingError(f"the operations of method {config.method} are not counted; give the images per second")
        counted = self._network() if passes else None
        flop, size = cluster.gpu_rates
        rates = flop * cluster.gpu_share, size * cluster.gpu_share
        craft, surrogate, assumed = 0.0, 0.0, []
        if counted:
            craft = counted.crafting(config, config.craft_batch).seconds(*rates) / config.craft_batch
            surrogate = counted.surrogate(config).seconds(*rates)
            what = "the surrogate's time" if cluster.gpu_images else "the GPU's times"
            assumed.append(
                f"{what}: arithmetic, not measured; operations counted, at {cluster.gpu_share:.0%} of {flop / 1e12:g} "
                f"TFLOP/s and {size / 1e12:g} TB/s"
            )
        if cluster.gpu_images:
            craft = 1 / cluster.gpu_images
            assumed.append(f"a GPU crafts {cluster.gpu_images:g} images/s, as given")
        return craft, surrogate, start_seconds(), assumed

    def _network(self) -> Network:
        config, collection = self.trial.config, self.sample.collection
        seen = make_view(config, collection.size)[1]
        return network(config.network, len(collection.classes), seen, "bfloat16")


def _repeated(config: ProtectConfig) -> float:
    """The share of a surrogate's step that every device does: a parameter step is three passes of a batch."""
    passes = cost(config)
    return 3 * config.steps * config.batch / passes.training if passes else 0.0


def _pixels(collection: Collection) -> float:
    """Bytes of the pixels of an image, the mean."""
    sizes = collection.sizes[collection.sizes[:, 0] > 0].astype(np.int64)
    return 3 * float(sizes.prod(1).mean())


def _bytes(source: Source, number: int) -> int:
    read = source.read(number)
    return read.nbytes if isinstance(read, np.ndarray) else len(read)
