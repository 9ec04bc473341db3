"""The dry run: what protect would do, and how long it would take, measured by a few real steps."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..measuring.cost import network
from ..noise.views import make_view
from ..progress import Progress, silent
from ..settings import ProtectConfig, to_json
from ..sources import Collection, SourceOptions
from .nesting import refuse_nesting
from .request import Request
from .trial import Trial, scan_sample


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
    refuse_nesting(opened, out)
    runtime = request.runtime()
    sample = scan_sample(opened, request)
    collection = sample.collection
    config = request.config(collection.size, runtime)
    images = sample.images(len(opened))
    flop = _operations(config, collection, images, with_surrogate=not surrogate)
    if flop:
        total = (flop["surrogate"] + flop["craft"]) / 1e15
        forward = flop["forward"] / 1e9
        runtime.remark(f"{config.network}: {forward:.3g} GFLOP per forward pass, {total:,.3f} PFLOP in all; measuring")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(runtime, collection, config, sample.usable, Path(folder))
        training = 0.0 if surrogate else trial.surrogate()
        craft, size = trial.here()
    return Plan(
        inputs=len(opened),
        images=images,
        classes=len(collection.classes),
        width=(collection.size or (0, 0))[1],
        height=(collection.size or (0, 0))[0],
        shards=len(opened.shards) if opened.shards else -(-images // config.shard_size),
        bytes=round(size * images),
        seconds={
            "scan": round(sample.seconds * len(opened), 1),
            "surrogate": round(training, 1),
            "craft": round(craft * images, 1),
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
