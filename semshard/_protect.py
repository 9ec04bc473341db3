"""The story of protect: source → surrogate → craft → quantise → encode → shard → manifest."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ._train import Request, begin_config, check_settings, limit_rejects, load_surrogate, scan_source, tensors, train_to
from ._version import __version__
from .atomic import remove_leftovers
from .config import ProtectConfig, fingerprint, to_json
from .engine import Runtime, deterministic, make_runtime, permutation
from .engine.weights import load_tensors, save_tensors
from .errors import OutputError
from .noise import add, craft_levels
from .noise.views import make_view
from .progress import Event, Progress, remarks, silent
from .shards import (
    Ledger,
    LedgerRow,
    ShardStats,
    ShardWriter,
    done_stats,
    ledger_path,
    mark_done,
    read_manifest,
    write_manifest,
)
from .sources import Collection, Source, open_source


@dataclass(frozen=True)
class ProtectResult:
    """What a protect run left behind."""

    samples: int
    shards: int
    rejected: int
    bytes: int  # of all tars
    linf_max: int  # grey levels
    psnr_mean: float  # dB
    seconds: dict[str, float]  # by phase, of this call
    out: str
    ledger: str
    fingerprint: str
    made: int  # shards written by this call; 0 where all were there already


@dataclass
class Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = round(self.seconds.get(phase, 0.0) + time.perf_counter() - start, 3)


@dataclass(frozen=True)
class Job:
    """Everything decided: what is protected, how, and where it goes."""

    runtime: Runtime
    collection: Collection
    config: ProtectConfig
    out: Path
    ledger: Ledger
    fingerprint: str

    @property
    def classes(self) -> tuple[str, ...]:
        return self.collection.source.classes

    def shards(self) -> list[NDArray[np.int64]]:
        """The inputs of each shard: the usable ones, shuffled by the seed, cut to size."""
        usable = self.collection.usable
        order = permutation(len(usable), self.config.seed, "shards").numpy()
        size = self.config.shard_size
        return [usable[order[at : at + size]] for at in range(0, len(usable), size)]


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
    progress: Progress = silent,
    **settings: Any,
) -> ProtectResult:
    """Write protected WebDataset shards of the images at `source` into the folder `out`, its ledger beside it.

    `settings` are fields of `ProtectConfig`; radii may be written "8/255". A run that was interrupted goes on from
    where it stopped and ends in the same bytes; a finished one is left alone.

    Raises `SourceError`, `SettingError`, `OutputError` (made with other settings, and no `overwrite`),
    `TooManyRejects` (more than the share `max_rejects` of the inputs; the ledger says which).
    """
    clock = Clock()
    request = Request(preset, surrogate, overwrite, max_rejects, settings, progress)
    out = Path(out)
    opened = open_source(source)
    refuse_nesting(opened, out)
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    check_settings(request, runtime)
    ledger = Ledger(ledger_path(out))
    with ledger.held():
        job = _begin(opened, out, ledger, runtime, request, clock)
        plan = job.shards()
        missing = [shard for shard in range(len(plan)) if not done_stats(out, shard)]
        if missing:
            with clock("surrogate"):
                model = _surrogate(job, surrogate, checkpoint_seconds, progress)
            with clock("craft"), deterministic():
                _craft(job, model, plan, missing, max_rejects, progress)
        with clock("finish"):
            return _finish(job, len(plan), len(missing), clock)


# --- beginning: a fresh run, or one to go on with -----------------------------------------------------------------


def _begin(source: Source, out: Path, ledger: Ledger, runtime: Runtime, request: Request, clock: Clock) -> Job:
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    known = ledger.run()
    return (known and _go_on(known, source, out, ledger, runtime, request)) or _start(
        source, out, ledger, runtime, request, clock
    )


def _go_on(
    known: Mapping[str, Any], source: Source, out: Path, ledger: Ledger, runtime: Runtime, request: Request
) -> Job | None:
    """The run that the ledger knows, if it is this one; None where it is not and may be overwritten."""
    size = (known["size"][0], known["size"][1])
    config = begin_config(request, size, runtime)
    run = _describe(source, config, size, runtime, request.surrogate)
    differences = _differences(out, known, run)
    if differences and request.overwrite:
        return None
    if differences:
        raise OutputError(
            f"{out} belongs to another run: {'; '.join(differences)}. "
            "Give --overwrite to make it anew, or choose another --out"
        )
    rows = ledger.sources()
    rejects = {row.number: row.reason for row in rows if row.reason}
    collection = Collection(source, config.resolution, size, [row.sha256 for row in rows], rejects)
    return Job(runtime, collection, config, out, ledger, run["fingerprint"])


def _start(source: Source, out: Path, ledger: Ledger, runtime: Runtime, request: Request, clock: Clock) -> Job:
    """A fresh run: scan the source, decide the settings, take possession of the output."""
    _refuse_foreign(out, ledger, request.overwrite)
    with clock("scan"):
        collection = scan_source(source, request.settings, request.progress)
    rows = [
        LedgerRow(number, source.entry(number).name, sha256, reason=collection.rejects.get(number))
        for number, sha256 in enumerate(collection.sha256)
    ]
    ledger.write_rejects(row for row in rows if row.reason)
    where = f"; see {ledger.path / 'rejects.jsonl'}"
    limit_rejects(len(collection.rejects), len(source), request.max_rejects, where)
    config = begin_config(request, collection.size, runtime)
    run = _describe(source, config, collection.size, runtime, request.surrogate)
    _clear(out, ledger)
    ledger.write_sources(rows)
    ledger.begin(run)
    return Job(runtime, collection, config, out, ledger, run["fingerprint"])


def _describe(
    source: Source, config: ProtectConfig, size: tuple[int, int], runtime: Runtime, surrogate: str | Path | None
) -> dict[str, Any]:
    """What run.json says. All of it but `source` and `software` decides whether an output belongs to a command."""
    given = hashlib.sha256(Path(surrogate).read_bytes()).hexdigest() if surrogate else "trained"
    run: dict[str, Any] = {
        "schema_version": 1,
        "source": source.spec,
        "source_digest": source.digest,
        "inputs": len(source),
        "classes": list(source.classes),
        "size": list(size),
        "settings": to_json(config),
        "surrogate": given,
        "software": {"semshard": __version__, "torch": torch.__version__, "device": runtime.device.type},
    }
    return run | {"fingerprint": fingerprint(run["source_digest"], run["settings"], run["surrogate"])}


def _differences(out: Path, known: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """What keeps the run that the ledger knows from being this one, in words."""
    then, now = {**known, **known["settings"]}, {**run, **run["settings"]}
    names = [name for name in ("surrogate", *run["settings"]) if then.get(name) != now[name]]
    differences = [f"{name} was {then.get(name)}, is {now[name]}" for name in names]
    if known["source_digest"] != run["source_digest"]:
        differences.insert(0, f"the source had {known['inputs']} files, has {run['inputs']}, or other names")
    if not differences and not (out / "manifest.json").exists():  # half of a run by one software, half by another
        software = run["software"]
        differences = [f"{k} was {v}, is {software[k]}" for k, v in known["software"].items() if v != software[k]]
    return differences


_OURS = re.compile(
    r"[0-9]{5}(\.tar|\.parquet|_stats\.json)|manifest\.json"
    r"|run\.json|sources\.parquet|rejects\.jsonl|(surrogate|checkpoint)\.safetensors|lock"
)


def _refuse_foreign(out: Path, ledger: Ledger, overwrite: bool) -> None:
    """Files that semshard did not write are never deleted; its own only where `overwrite` says so."""
    foreign = [path for path in out.iterdir() if not _OURS.fullmatch(path.name)]
    if foreign:
        raise OutputError(f"{out} holds {foreign[0].name}, which semshard did not write; choose an empty --out")
    if any(out.iterdir()) and not overwrite:
        gone = f"{out} holds shards, but their ledger {ledger.path} is gone"
        raise OutputError(f"{gone}; give --overwrite or another --out")


def _clear(out: Path, ledger: Ledger) -> None:
    """Delete every file of ours, except what this run has written and holds."""
    kept = {"lock", "rejects.jsonl"}
    for path in [*out.iterdir(), *ledger.path.iterdir()]:
        if path.name not in kept and _OURS.fullmatch(path.name):
            path.unlink()


def refuse_nesting(source: Source, out: Path) -> None:
    root, target = os.path.realpath(source.spec), os.path.realpath(out)
    if os.path.isdir(root) and os.path.commonpath([root, target]) == root:
        raise OutputError(f"--out {out} lies inside the source; the shards would become its images")
    if os.path.isdir(root) and os.path.commonpath([root, target]) == target:
        raise OutputError(f"--out {out} contains the source, which must not be published")


def _surrogate(job: Job, given: str | Path | None, checkpoint_seconds: float, progress: Progress) -> nn.Module:
    path = job.ledger.surrogate
    if given and not path.exists():
        tensors, about = load_tensors(Path(given))
        save_tensors(path, tensors, about)
    if path.exists():
        return load_surrogate(job.runtime, job.collection, job.config, path, Path(given) if given else path)
    return train_to(job.runtime, job.collection, job.config, path, job.ledger.checkpoint, checkpoint_seconds, progress)


# --- crafting -----------------------------------------------------------------------------------------------------


def _craft(
    job: Job,
    model: nn.Module,
    plan: list[NDArray[np.int64]],
    missing: list[int],
    max_rejects: float,
    progress: Progress,
) -> None:
    total = sum(len(plan[shard]) for shard in missing)
    done = rejected = 0
    progress(Event("craft", done, total, "images"))
    for shard in missing:
        for stats in _make_shard(job, model, shard, plan[shard]):
            if isinstance(stats, int):
                done += stats
                progress(Event("craft", done, total, "images"))
            else:
                rejected += stats.rejected
        limit_rejects(len(job.collection.rejects) + rejected, len(job.collection.source), max_rejects, "")


@dataclass(frozen=True)
class Crafted:
    """A batch: (number, clean, protected, label) with pixels uint8 (H, W, 3), and why other inputs are missing."""

    samples: list[tuple[int, NDArray[np.uint8], NDArray[np.uint8], int]]
    rejects: dict[int, str]


def craft_batch(
    runtime: Runtime,
    model: nn.Module,
    collection: Collection,
    config: ProtectConfig,
    numbers: NDArray[np.int64],
    shard: int,
    at: int,
) -> Crafted:
    """Load the inputs `numbers`, which stand at place `at` of a shard, and craft their noise."""
    images, labels, kept, rejects = tensors(collection, numbers)
    if not len(kept):
        return Crafted([], rejects)
    view, _ = make_view(config, collection.size)
    protected = add(images, craft_levels(runtime, model, images, labels, view, config, shard, at))
    pixels = (batch.permute(0, 2, 3, 1).contiguous().numpy() for batch in (images, protected))
    return Crafted(list(zip(kept.tolist(), *pixels, labels.tolist(), strict=True)), rejects)


def _make_shard(job: Job, model: nn.Module, shard: int, numbers: NDArray[np.int64]) -> Iterator[int | ShardStats]:
    """Write one shard; gives the number of inputs after each batch, and the stats when it is done."""
    rows: list[LedgerRow] = []
    source, size = job.collection.source, job.config.craft_batch
    with ShardWriter(job.out, shard, job.classes) as writer:
        for at in range(0, len(numbers), size):
            part = numbers[at : at + size]
            batch = craft_batch(job.runtime, model, job.collection, job.config, part, shard, at)
            place = {int(number): at + offset for offset, number in enumerate(part)}
            for number, clean, protected, label in batch.samples:
                key = writer.add(place[number], clean, protected, label)
                rows.append(LedgerRow(number, source.entry(number).name, job.collection.sha256[number], key))
            for number, reason in batch.rejects.items():
                rows.append(LedgerRow(number, source.entry(number).name, job.collection.sha256[number], None, reason))
            writer.rejected += len(batch.rejects)
            yield len(part)
    job.ledger.write_shard(shard, rows)
    mark_done(job.out, writer.stats)
    yield writer.stats


# --- the end ------------------------------------------------------------------------------------------------------


def _finish(job: Job, shards: int, made: int, clock: Clock) -> ProtectResult:
    """Write the rejects and the manifest, once every shard is done."""
    stats = [found for shard in range(shards) if (found := done_stats(job.out, shard))]
    rejected = len(job.collection.rejects) + sum(shard.rejected for shard in stats)
    if made or not (job.out / "manifest.json").exists():
        late = (row for shard in range(shards) for row in job.ledger.shard(shard) if row.reason)
        early = (row for row in job.ledger.sources() if row.reason)
        job.ledger.write_rejects([*early, *late])
        write_manifest(job.out, job.config, job.classes, job.collection.size, stats, rejected, __version__)
    manifest = read_manifest(job.out)
    return ProtectResult(
        samples=manifest["counts"]["samples"],
        shards=shards,
        rejected=rejected,
        bytes=sum(shard.bytes for shard in stats),
        linf_max=manifest["noise"]["linf_max"],
        psnr_mean=manifest["noise"]["psnr_mean"],
        seconds=clock.seconds,
        out=str(job.out),
        ledger=str(job.ledger.path),
        fingerprint=job.fingerprint,
        made=made,
    )
