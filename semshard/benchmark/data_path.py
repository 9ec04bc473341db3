"""The data path: decoder, encoder and tar writer alone, and the whole pipeline with a noise that costs nothing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..cores import allowed
from ..engine import Runtime
from ..measuring.memory import peak
from ..measuring.timing import medians
from ..protection.batches import Batch, Craft
from ..protection.output import Output
from ..protection.request import Request
from ..protection.resume import Run
from ..protection.scan import processes
from ..protection.shard_pool import Made, make_missing
from ..settings import ProtectConfig, protect_config
from ..shards import Ledger, SampleBatch, ShardWriter, encode, ledger_path
from ..shards.pixels import encode_png
from ..sources import open_source, scan
from ..sources.collection import CACHE_BYTES
from ..sources.decode import decode
from ..threads import ordered_map
from ..workers import LocalPool, Report

TOGETHER = 32
CLASSES = 10
SHARD = 1_000  # images of a shard, at most
ROUNDS = 4  # parts of work for each process, when the encoder is measured alone
T = TypeVar("T")


def pictures(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth coloured noise, uint8 (count, side, side, 3): about as hard to compress as photographs."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, side // 4, side // 4, 3), np.uint8)
    grain = random.integers(-4, 5, (count, side, side, 3), np.int16)
    smooth = np.stack([cv2.resize(each, (side, side), interpolation=cv2.INTER_CUBIC) for each in coarse])
    noisy: NDArray[np.uint8] = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    return noisy


def data_path(count: int, repeats: int) -> dict[str, float]:
    """Images a second of each part, all cores together; medians of `repeats`. `count` pictures of 32 × 32.

    Processes are measured while all of them work, without their start.
    """
    small, large = pictures(count, 32), pictures(max(8, count // 50), 224)
    files = [encode_png(picture) for picture in small]
    samples = encode(SampleBatch(0, range(count), [0] * count, small, small), ["0"])
    rates = {
        "decode, 32 × 32": _rate(lambda: _spread(decode, files), count, repeats),
        "encode, 32 × 32": _rate(lambda: _spread(encode_png, small), count, repeats),
        "encode, 32 × 32, in processes": _median([encoder_rate(small, allowed()) for _ in range(repeats)]),
        "encode, 224 × 224": _rate(lambda: _spread(encode_png, large), len(large), repeats),
    }
    with tempfile.TemporaryDirectory() as folder:

        def write() -> None:
            with ShardWriter(Path(folder), 0) as writer:
                for at in range(0, count, TOGETHER):
                    writer.add(samples[at : at + TOGETHER])

        rates["tar, 32 × 32"] = _rate(write, count, repeats)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "images", count)
        rates["scan, 32 × 32"] = _median([scan_rate(Path(folder)) for _ in range(repeats)])
        for name, keep, workers in (
            ("pixels in memory", True, 0),
            ("files read again", False, 0),
            ("pixels in memory, 1 process", True, 1),
            (f"pixels in memory, {allowed()} processes", True, allowed()),
        ):
            runs = [pipeline(Path(folder), keep=keep, name=f"{name} {i}", workers=workers) for i in range(repeats)]
            rates[f"pipeline, {name}"] = _median([run.rate for run in runs])
    return rates


def peak_memory(counts: Sequence[int]) -> dict[int, int]:
    """Peak resident bytes of a process that runs the pipeline on so many pictures, files read again."""
    return {count: int(_measured_apart(count, 0)["peak"]) for count in counts}


def peak_memory_of_workers(counts: Sequence[int], workers: int) -> dict[int, int]:
    """The same of the largest of so many workers, in shards of `SHARD` pictures."""
    return {count: max(_measured_apart(count, workers)["peaks"], default=0) for count in counts}


def _measured_apart(count: int, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "images", count)
        program = f"from semshard.benchmark.data_path import report; report({folder!r}, {workers})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))


def report(folder: str, workers: int) -> None:
    """Run the pipeline on the pictures in `folder` and write the peak memory of all processes to standard output."""
    run = pipeline(Path(folder), keep=False, name="out", workers=workers)
    sys.stdout.write(json.dumps({"peak": peak(torch.device("cpu")), "peaks": run.made.peaks}))


@dataclass(frozen=True)
class PipelineRun:
    """How fast a pipeline was."""

    rate: float  # images/s, from when a quarter was done: by then all workers have loaded what they need
    rate_with_start: float  # images/s, with the start of its workers
    made: Made


@dataclass(frozen=True)
class FreeNoise:
    """Makes what crafts without a cost: the same noise, int8 (H, W, 3), for every image."""

    noise: NDArray[np.int8]

    def __call__(self) -> Craft:
        return self._craft

    def _craft(self, batch: Batch) -> Batch:
        protected = np.clip(np.add(batch.images, self.noise, dtype=np.int16), 0, 255).astype(np.uint8)
        return dataclasses.replace(batch, protected=protected)


def pipeline(
    folder: Path,
    *,
    keep: bool,
    name: str,
    workers: int = 0,
    craft: Callable[[], Craft] | None = None,
    config: ProtectConfig | None = None,
) -> PipelineRun:
    """From `folder`/images to finished shards in `folder`/`name`, after the scan. By so many processes, 0 for this one;
    with free noise where `craft` is not given.
    """
    collection = scan(open_source(folder / "images"), keep=CACHE_BYTES if keep else 0)
    out = folder / name
    out.mkdir()
    ledger = Ledger(ledger_path(out))
    shard = min(SHARD, -(-len(collection.source) // max(8, 4 * allowed())))
    config = config or protect_config("quick", collection.size, "float32", {})
    config = dataclasses.replace(config, shard_size=shard)
    free = FreeNoise(np.random.default_rng(0).integers(-8, 9, (*(collection.size or (0, 0)), 3), np.int8))
    steps = list[tuple[float, int]]()
    request = Request(
        folder / "images", max_rejects=0, progress=lambda event: steps.append((time.perf_counter(), event.done))
    )  # fmt: skip
    with ledger.locked():
        run = Run(request, Runtime(torch.device("cpu"), "float32"), collection, config, Output(out, ledger), "")
        plan = run.plan()
        made = make_missing(run, craft or free, plan, range(len(plan)), workers)
    end, start, count = time.perf_counter(), steps[0][0], len(collection.source)
    first, done = next(step for step in steps if step[1] >= count // 4)
    return PipelineRun((count - done) / (end - first), count / (end - start), made)


def scan_rate(folder: Path) -> float:
    """Images a second of a scan of `folder`/images, as protect does it."""
    source = open_source(folder / "images")
    start = time.perf_counter()
    scan(source, elsewhere=processes(source))
    return len(source) / (time.perf_counter() - start)


def encoder_rate(small: NDArray[np.uint8], workers: int) -> float:
    """Images a second of the encoder alone, in so many processes, from when each is through with its first part."""
    times = []
    for _ in LocalPool(workers, workers).run(encode_all, None, [small] * ROUNDS * workers, lambda message: None):
        times.append(time.perf_counter())
    return len(small) * (len(times) - workers) / (times[-1] - times[workers - 1])


def encode_all(order: None, works: Iterable[NDArray[np.uint8]], report: Report) -> Iterator[int]:
    """The job of a worker: pictures (N, H, W, 3), encoded and counted."""
    for work in works:
        yield len([encode_png(picture) for picture in work])


def write_folder(folder: Path, count: int) -> None:
    """A folder of class folders of PNGs."""
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for first in range(0, count, 1000):
        for place, picture in enumerate(pictures(min(1000, count - first), 32, first), first):
            (folder / str(place % CLASSES) / f"{place:06d}.png").write_bytes(encode_png(picture))


def _spread(function: Callable[[Any], T], items: Any) -> None:
    parts = (items[at : at + TOGETHER] for at in range(0, len(items), TOGETHER))
    for _ in ordered_map(lambda part: [function(item) for item in part], parts):
        pass


def _rate(action: Callable[[], object], count: int, repeats: int) -> float:
    return count / medians({"": action}, repeats, torch.device("cpu"))[""]


def _median(values: list[float]) -> float:
    return float(np.median(values))
