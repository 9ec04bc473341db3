"""The dry run: what protect would do, and how long it would take, measured by a few real steps."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..engine import Runtime, make_runtime, sgd
from ..engine.schedule import batch_numbers
from ..measuring.timing import medians
from ..noise import new_surrogate, surrogate_step
from ..noise.views import make_view
from ..progress import Progress, remarks, silent
from ..settings import ProtectConfig, to_json
from ..shards import ShardWriter
from ..sources import SourceOptions, open_source, scan, with_groups
from ..sources.collection import SQUASHED
from ..sources.decode import decoding_of
from .pipeline import batches, craft_batch, encode_pieces, load_batch
from .protect import noise_of
from .request import GROUPS, Request, begin_config
from .resume import fields_of, refuse_nesting
from .training_images import TrainingImages

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
    request = Request(preset, surrogate, False, max_rejects, settings, options or SourceOptions(), progress)
    opened = open_source(source, request.options)
    refuse_nesting(opened, Path(out))
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    inputs = len(opened)
    numbers = np.unique(np.linspace(0, inputs - 1, min(inputs, _SAMPLE)).astype(np.int64))
    start = time.perf_counter()
    pictures = request.pictures()
    collection = scan(opened, decoding_of(pictures), pictures["resolution"], numbers.tolist())
    if not opened.classes:  # as good as any groups to take the time with
        groups = pictures["groups"] or GROUPS
        with_groups(collection, {n: n % groups for n in numbers.tolist()}, tuple(map(str, range(groups))))
    scan_seconds = (time.perf_counter() - start) / len(numbers) * inputs
    config = begin_config(request, collection.size, runtime)
    usable = np.setdiff1d(numbers, np.fromiter(collection.rejects, np.int64, len(collection.rejects)))
    images = round(inputs * len(usable) / len(numbers))

    model = new_surrogate(config, len(collection.classes), collection.size, runtime) if config.has_surrogate else None
    noise = noise_of(runtime, collection, config, model)
    part = next(batches(collection, config, usable))
    fields = fields_of(config, opened)
    with tempfile.TemporaryDirectory() as folder:

        def craft() -> int:
            batch = craft_batch(noise, load_batch(collection, part, 0, 0))
            with ShardWriter(Path(folder), 0) as writer:
                for piece in encode_pieces(iter([batch]), collection.classes, fields, config.quality):
                    writer.add(piece.samples)
            return writer.stats.bytes

        side = 0 if collection.size else SQUASHED * config.crop
        actions: dict[str, Callable[[], object]] = {"craft": craft}
        if model is not None and not surrogate:
            actions["surrogate"] = _step(runtime, model, TrainingImages(collection, usable, side), config)
        times = medians(actions, _REPEATS, runtime.device)
        seconds = {
            "scan": round(scan_seconds, 1),
            "surrogate": round(times.get("surrogate", 0.0) * config.steps, 1),
            "craft": round(times["craft"] / len(part) * images, 1),
        }
        bytes_each = craft() / len(part)
    return Plan(
        inputs=inputs,
        images=images,
        classes=len(collection.classes),
        width=(collection.size or (0, 0))[1],
        height=(collection.size or (0, 0))[0],
        shards=len(opened.shards) if opened.shards else -(-images // config.shard_size),
        bytes=round(bytes_each * images),
        seconds=seconds,
        settings=to_json(config),
        out=str(out),
    )


def _step(runtime: Runtime, model: nn.Module, data: TrainingImages, config: ProtectConfig) -> Callable[[], object]:
    """A step of the surrogate's training."""
    view, _ = make_view(config, data.collection.size)
    optimiser = sgd(model, config)

    def step() -> None:
        images, labels, sizes = data.batch(batch_numbers(len(data), config.batch, config.seed, 0))
        surrogate_step(runtime, model, optimiser, images, labels, view.on(sizes), config, 0)

    return step
