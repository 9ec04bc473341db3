"""The story of protect: source → surrogate → craft → quantise → encode → shard → manifest."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._version import __version__
from ..engine import Runtime, deterministic, make_runtime, permutation
from ..engine.weights import load_tensors, save_tensors
from ..noise.methods import HELD_OUT, HeldOut, Noise, make_noise
from ..progress import Progress, remarks, silent
from ..settings import ProtectConfig
from ..shards import Ledger, done_stats, ledger_path, read_manifest, write_manifest
from ..sources import Collection, SourceOptions, open_source
from .pipeline import craft_batch, make_shards
from .request import Request, check_settings, check_surrogate
from .resume import Job, PhaseTimer, check_method, open_run, refuse_nesting, rejects_of
from .surrogate import load_surrogate, train_to
from .training_images import tensors


@dataclass(frozen=True)
class ProtectResult:
    """What a protect run left behind."""

    samples: int
    shards: int
    rejected: int
    bytes: int  # of all tars
    linf_max: int  # grey levels
    psnr_mean: float  # dB
    duplicates: int  # usable inputs that have the pixels of an earlier one
    seconds: dict[str, float]  # by phase, of this call
    out: str
    ledger: str
    fingerprint: str
    made: int  # shards written by this call; 0 where all were there already


def protect(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    surrogate: str | Path | None = None,
    overwrite: bool = False,
    max_rejects: float = 0.01,
    device: str = "auto",
    checkpoint_seconds: float = 20,
    options: SourceOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> ProtectResult:
    """Write protected WebDataset shards of the images at `source` into the folder `out`, its ledger beside it.

    `settings` are fields of `ProtectConfig`; radii may be written "8/255"; `options` tell more of the source. A run
    that was interrupted goes on from where it stopped and ends in the same bytes; a finished one is left alone.

    Raises `SourceError`, `SettingError`, `OutputError` (made with other settings, and no `overwrite`),
    `TooManyRejects` (more than the share `max_rejects` of the inputs; the ledger says which).
    """
    clock = PhaseTimer()
    request = Request(preset, surrogate, overwrite, max_rejects, settings, options or SourceOptions(), progress)
    out = Path(out)
    opened = open_source(source, request.options)
    refuse_nesting(opened, out)
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    check_settings(request, runtime)
    check_surrogate(request, opened)
    ledger = Ledger(ledger_path(out))
    with ledger.locked():
        job = open_run(opened, out, ledger, runtime, request, clock)
        plan = job.shards()
        missing = [shard for shard in range(len(plan)) if not done_stats(out, shard)]
        if missing:
            with clock("surrogate"):
                noise = _noise(job, surrogate, checkpoint_seconds, progress)
            with clock("craft"), deterministic():
                make_shards(job, functools.partial(craft_batch, noise), plan, missing, max_rejects, progress)
        with clock("finish"):
            return _finish(job, len(plan), len(missing), clock)


def _noise(job: Job, given: str | Path | None, checkpoint_seconds: float, progress: Progress) -> Noise:
    """The noise of the job's method, its surrogate trained."""
    model = _surrogate(job, given, checkpoint_seconds, progress) if job.config.has_surrogate else None
    return noise_of(job.runtime, job.collection, job.config, model)


def noise_of(runtime: Runtime, collection: Collection, config: ProtectConfig, model: nn.Module | None) -> Noise:
    """The noise of a method for the images of a collection. Raises `SettingError` where they do not suit it."""
    check_method(runtime, collection, config)
    others = held_out(collection, config)
    return make_noise(runtime, config, len(collection.classes), collection.size, model=model, held_out=others)


def held_out(collection: Collection, config: ProtectConfig) -> HeldOut:
    """Images outside a block, uint8 (V, 3, H, W), and their labels: the first of a seeded order, read once."""

    @functools.cache
    def first() -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        order = collection.usable[permutation(len(collection.usable), config.seed, "held out").numpy()]
        return tensors(collection, order[: HELD_OUT + config.craft_batch])[:3]

    def outside(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, labels, known = first()
        chosen = torch.from_numpy(np.flatnonzero(~np.isin(known, numbers))[:HELD_OUT])
        return images[chosen], labels[chosen]

    return outside


def _surrogate(job: Job, given: str | Path | None, checkpoint_seconds: float, progress: Progress) -> nn.Module:
    path = job.ledger.surrogate
    if given and not path.exists():
        tensors, about = load_tensors(Path(given))
        save_tensors(path, tensors, about)
    if path.exists():
        return load_surrogate(job.runtime, job.collection, job.config, path, Path(given) if given else path)
    return train_to(job.runtime, job.collection, job.config, path, job.ledger.checkpoint, checkpoint_seconds, progress)


# --- crafting -----------------------------------------------------------------------------------------------------
# A thread reads ahead, the device crafts here, and behind it threads encode and write, in the order of the plan.


# --- the end ------------------------------------------------------------------------------------------------------


def _finish(job: Job, shards: int, made: int, clock: PhaseTimer) -> ProtectResult:
    """Write the rejects and the manifest, once every shard is done."""
    stats = [found for shard in range(shards) if (found := done_stats(job.out, shard))]
    rejected = len(job.collection.rejects) + sum(shard.rejected for shard in stats)
    if made or not (job.out / "manifest.json").exists():
        late = (row for shard in range(shards) for row in job.ledger.shard(shard) if row.reason)
        job.ledger.write_rejects(itertools.chain(rejects_of(job.collection), late))
        size, duplicates = job.collection.size, job.collection.duplicates
        write_manifest(job.out, job.config, job.classes, size, job.fields, stats, rejected, duplicates, __version__)
    manifest = read_manifest(job.out)
    return ProtectResult(
        samples=manifest["counts"]["samples"],
        shards=shards,
        rejected=rejected,
        bytes=sum(shard.bytes for shard in stats),
        linf_max=manifest["noise"]["linf_max"],
        psnr_mean=manifest["noise"]["psnr_mean"],
        duplicates=manifest["counts"]["duplicates"],
        seconds=clock.seconds,
        out=str(job.out),
        ledger=str(job.ledger.path),
        fingerprint=job.fingerprint,
        made=made,
    )
