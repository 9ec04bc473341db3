"""The dry run: what protect would do, and how long it would take, measured by a few real steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..engine import Runtime, batch_numbers
from ..measuring.cost import network
from ..measuring.timing import medians
from ..noise import Part, SurrogateTraining, initial_noise, new_surrogate, parts_of
from ..noise.views import make_view
from ..progress import Progress, silent
from ..settings import ProtectConfig, to_json
from ..shards import ShardWriter
from ..sources import Collection, Source, SourceOptions, scan, with_groups
from ..sources.decode import decoding_of
from .noise import noise_of
from .pipeline import Recipe, batches, craft_batch, encode_batches, load_batch
from .request import GROUPS, Request
from .resume import fields_of, refuse_nesting
from .scan import remark_notes
from .training_images import TrainingImages, squashed_side

_SAMPLE = 256  # inputs that are really read
_REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """What a run would do. Images, rejects and bytes are projected from a sample of the inputs."""

    inputs: int
    images: int
    classes: int
    width: int  # 0 where each image has its own size, which it keeps
    height: int
    shards: int
    bytes: int
    seconds: dict[str, float]  # by phase
    flop: dict[str, float]  # counted, not measured: of a forward pass of one image, the surrogate, crafting all images
    settings: dict[str, Any]
    out: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def plan(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    surrogate: str | Path | None = None,
    max_rejects: float = 0.01,
    device: str = "auto",
    options: SourceOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Plan:
    """What `protect` with the same arguments would do, without writing anything.

    Reads an evenly spread sample of the inputs, takes a few surrogate steps and crafts a batch or two. Raises as
    `protect` does, as far as the sample shows it.
    """
    request = Request(
        source, preset, surrogate, max_rejects=max_rejects, device=device, options=options or SourceOptions(),
        progress=progress, settings=settings,
    )  # fmt: skip
    opened = request.open()
    refuse_nesting(opened, Path(out))
    runtime = request.runtime()
    start = time.perf_counter()
    numbers, collection = _scan_sample(opened, request)
    scan_seconds = (time.perf_counter() - start) / len(numbers) * len(opened)
    config = request.config(collection.size, runtime)
    usable = np.setdiff1d(numbers, np.fromiter(collection.rejects, np.int64, len(collection.rejects)))
    images = round(len(opened) * len(usable) / len(numbers))
    flop = _operations(config, collection, images, with_surrogate=not surrogate)
    if flop:
        total = (flop["surrogate"] + flop["craft"]) / 1e15
        forward = flop["forward"] / 1e9
        runtime.remark(f"{config.network}: {forward:.3g} GFLOP per forward pass, {total:,.3f} PFLOP in all; measuring")
    measured = _Trial(runtime, collection, config, usable).measure(with_surrogate=not surrogate)
    return Plan(
        inputs=len(opened),
        images=images,
        classes=len(collection.classes),
        width=(collection.size or (0, 0))[1],
        height=(collection.size or (0, 0))[0],
        shards=len(opened.shards) if opened.shards else -(-images // config.shard_size),
        bytes=round(measured.bytes * images),
        seconds={
            "scan": round(scan_seconds, 1),
            "surrogate": round(measured.training, 1),
            "craft": round(measured.craft * images, 1),
        },
        flop=flop,
        settings=to_json(config),
        out=str(out),
    )


def _operations(config: ProtectConfig, collection: Collection, images: int, with_surrogate: bool) -> dict[str, float]:
    """Floating-point operations by phase; none where the method has no network."""
    if not config.has_surrogate:
        return {}
    seen = make_view(config, collection.size)[1]
    cost = network(config.network, len(collection.classes), seen, config.precision)
    training = cost.surrogate(config).flop if with_surrogate else 0.0
    return {"forward": cost.flop, "surrogate": training, "craft": cost.crafting(config, images).flop}


def _scan_sample(source: Source, request: Request) -> tuple[NDArray[np.int64], Collection]:
    """Evenly spread inputs, and what a scan of them finds."""
    numbers = np.unique(np.linspace(0, len(source) - 1, min(len(source), _SAMPLE)).astype(np.int64))
    pictures = request.pictures()
    collection = scan(source, decoding_of(pictures), pictures["resolution"], numbers.tolist())
    remark_notes(collection.notes.values(), request.progress, f"of {len(numbers):,} images read")
    if not source.classes:  # as good as any groups to measure the time with
        groups = pictures["groups"] or GROUPS
        with_groups(collection, {n: n % groups for n in numbers.tolist()}, tuple(map(str, range(groups))))
    return numbers, collection


@dataclass(frozen=True)
class _Measured:
    training: float  # seconds of the surrogate's training; 0 where none is trained
    craft: float  # seconds per image, encoded and written
    bytes: float  # per image


@dataclass(frozen=True)
class _Trial:
    """A few steps of a run on a sample of its images, `usable`."""

    runtime: Runtime
    collection: Collection
    config: ProtectConfig
    usable: NDArray[np.int64]

    def measure(self, with_surrogate: bool) -> _Measured:
        collection, config, runtime = self.collection, self.config, self.runtime
        model = (
            new_surrogate(config, len(collection.classes), collection.size, runtime) if config.has_surrogate else None
        )
        parts = parts_of(model, config) if model is not None else []
        part = next(batches(collection, config, self.usable))
        with tempfile.TemporaryDirectory() as folder:
            craft = self._crafting(model, part, Path(folder))
            actions: dict[str, Callable[[], object]] = {"craft": craft}
            if model is not None and with_surrogate:
                actions |= {each.name: self._step(each) for each in parts}
            times = medians(actions, _REPEATS, runtime.device)
            training = sum(each.config.steps * times.get(each.name, 0.0) for each in parts)
            return _Measured(training, times["craft"] / len(part), craft() / len(part))

    def _crafting(self, model: nn.Module | None, part: NDArray[np.int64], folder: Path) -> Callable[[], int]:
        """Crafts, encodes and writes a batch; returns the bytes."""
        collection, config = self.collection, self.config
        noise = noise_of(self.runtime, collection, config, model)
        recipe = Recipe(collection.classes, fields_of(config, collection.source), config.quality)

        def craft() -> int:
            batch = craft_batch(noise, load_batch(collection, part, 0, 0))
            with ShardWriter(folder, 0) as writer:
                for chunk in encode_batches(iter([batch]), recipe):
                    writer.add(chunk.samples)
            return writer.stats.bytes

        return craft

    def _step(self, part: Part) -> Callable[[], object]:
        """A step of the training of one of the surrogate's networks."""
        config, collection = part.config, self.collection
        side = squashed_side(collection, config)
        data = TrainingImages(collection, self.usable, side)
        kept = initial_noise(config, config.batch, collection.size or (side, side), self.runtime)
        training = SurrogateTraining.of(self.runtime, part.model, make_view(config, collection.size)[0], config, kept)
        numbers = batch_numbers(len(data), config.batch, config.seed, 0)
        return lambda: training.step(0, *data.batch(numbers))
