"""The data path: decoder, encoder and tar writer alone, and the whole pipeline with a noise that costs nothing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..engine import Runtime
from ..measuring.memory import peak
from ..measuring.timing import medians
from ..protection.pipeline import Batch, make_shards
from ..protection.request import Request
from ..protection.resume import Run
from ..settings import protect_config
from ..shards import Ledger, SampleBatch, ShardWriter, encode, ledger_path
from ..shards.pixels import encode_png
from ..sources import open_source, scan
from ..sources.collection import Cache
from ..sources.decode import decode
from ..threads import ordered_map

TOGETHER = 32
CLASSES = 10
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
    """Images a second of each part, all cores together; medians of `repeats`. `count` pictures of 32 × 32."""
    small, large = pictures(count, 32), pictures(max(8, count // 50), 224)
    files = [encode_png(picture) for picture in small]
    samples = encode(SampleBatch(0, range(count), [0] * count, small, small), ["0"])
    rates = {
        "decode, 32 × 32": _rate(lambda: _spread(decode, files), count, repeats),
        "encode, 32 × 32": _rate(lambda: _spread(encode_png, small), count, repeats),
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
        rates["pipeline, pixels in memory"] = _median(
            [pipeline(Path(folder), keep=True, name=f"kept{i}") for i in range(repeats)]
        )
        rates["pipeline, files read again"] = _median(
            [pipeline(Path(folder), keep=False, name=f"read{i}") for i in range(repeats)]
        )
    return rates


def peak_memory(counts: Sequence[int]) -> dict[int, int]:
    """Peak resident bytes of a process that runs the pipeline on so many pictures, files read again."""
    found = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_folder(Path(folder) / "images", count)
            program = f"from semshard.benchmark.data_path import report; report({folder!r})"
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
            found[count] = int(json.loads(done.stdout)["peak"])
    return found


def report(folder: str) -> None:
    """Run the pipeline on the pictures in `folder` and write the peak memory of this process to standard output."""
    pipeline(Path(folder), keep=False, name="out")
    sys.stdout.write(json.dumps({"peak": peak(torch.device("cpu"))}))


def pipeline(folder: Path, *, keep: bool, name: str) -> float:
    """Images a second from `folder`/images to finished shards in `folder`/`name`, after the scan; free noise."""
    source = open_source(folder / "images")
    collection = scan(source)
    if not keep:
        collection = dataclasses.replace(collection, cache=Cache(0))
    out = folder / name
    out.mkdir()
    ledger = Ledger(ledger_path(out))
    config = protect_config("quick", collection.size, "float32", {})
    height, width = collection.size or (0, 0)
    noise = np.random.default_rng(0).integers(-8, 9, (height, width, 3), np.int8)

    def free(batch: Batch) -> Batch:
        protected = np.clip(np.add(batch.images, noise, dtype=np.int16), 0, 255).astype(np.uint8)
        return dataclasses.replace(batch, protected=protected)

    with ledger.locked():
        request = Request(folder / "images", max_rejects=0)
        run = Run(request, Runtime(torch.device("cpu"), "float32"), collection, config, out, ledger, "")
        plan = run.plan()
        start = time.perf_counter()
        make_shards(run, free, plan, range(len(plan)))
        return len(source) / (time.perf_counter() - start)


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
