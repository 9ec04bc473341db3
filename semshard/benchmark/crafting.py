"""Crafting real noise in worker processes, from pictures to finished shards: one process beside one for each core."""

from __future__ import annotations

import functools
import itertools
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from ..cores import allowed, limited
from ..engine import Runtime
from ..noise import new_surrogate
from ..noise.methods import make_noise
from ..protection.batches import Craft, craft_batch
from ..settings import ProtectConfig
from .data_path import CLASSES, PipelineRun, pipeline, write_folder

SECONDS = 10.0  # that all cores together should craft for
LEAST, MOST = 128, 20_000  # images


@dataclass(frozen=True)
class CraftingTime:
    """What so many worker processes with a core each do together. Medians."""

    workers: int
    images: int
    per_second: float  # images/s while all of them work
    with_start: float  # images/s, with their start
    peak_memory: int  # bytes resident of the largest of them


def crafting_times(
    runtime: Runtime, config: ProtectConfig, size: tuple[int, int], rate: float, repeats: int
) -> list[CraftingTime]:
    """Measure one process and as many as there are cores, in turn, each with one core.

    Their noise is that of `config` with an untrained surrogate. `rate` in images/s says how many images are crafted.
    """
    images = int(min(MOST, max(LEAST, rate * SECONDS)))
    noise = UntrainedSurrogate(str(runtime.device), runtime.precision, config, size)
    counts = sorted({1, allowed()})
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "images", images)
        runs = dict[tuple[int, int], PipelineRun]()
        for number, workers in itertools.product(range(repeats), counts):
            with limited(workers):
                runs[workers, number] = pipeline(
                    Path(folder), keep=True, name=f"{workers} {number}", workers=workers, craft=noise, config=config
                )
    return [
        CraftingTime(
            workers, images,
            statistics.median(runs[workers, number].rate for number in range(repeats)),
            statistics.median(runs[workers, number].rate_with_start for number in range(repeats)),
            max((peak for number in range(repeats) for peak in runs[workers, number].made.peaks), default=0),
        )
        for workers in counts
    ]  # fmt: skip


@dataclass(frozen=True)
class UntrainedSurrogate:
    """Makes what crafts by a surrogate with its first weights, the same in every process."""

    device: str
    precision: str
    config: ProtectConfig
    size: tuple[int, int]

    def __call__(self) -> Craft:
        runtime = Runtime(torch.device(self.device), self.precision)
        model = new_surrogate(self.config, CLASSES, self.size, runtime) if self.config.has_surrogate else None
        return functools.partial(craft_batch, make_noise(runtime, self.config, CLASSES, self.size, model=model))
