"""The story of protect: source → surrogate → craft → quantise → encode → shard → manifest."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .._version import __version__
from ..engine import deterministic, load_tensors, save_tensors
from ..measuring.machine import describe
from ..progress import Progress, silent
from ..shards import Ledger, ManifestContent, done_stats, ledger_path, read_manifest, write_manifest
from ..shards.signature import refresh_signature
from ..signing import load_signer
from ..sources import Collection, SourceOptions
from .noise import Crafting
from .request import Request
from .resume import PhaseTimer, Run, open_run, refuse_nesting, rejects_of
from .scan import scan_source
from .shard_pool import make_missing
from .surrogate import SurrogateFiles, load_surrogate, train_surrogate


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
    signed: bool  # whether manifest.dsse.json is there


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
    sign_key: str | Path | None = None,
    passphrase: str = "",
    progress: Progress = silent,
    **settings: Any,
) -> ProtectResult:
    """Write protected WebDataset shards of the images at `source` into the folder `out`, its ledger beside it.

    `settings` are fields of `ProtectConfig`; radii may be written "8/255"; `options` tell more of the source. A run
    that was interrupted continues from where it stopped and ends in the same bytes; a finished one is left alone. With
    `sign_key`, a file that `keygen` wrote, and its `passphrase` the finished folder is signed, as `sign` does it.

    Raises `SourceError`, `SettingError`, `OutputError` (made with other settings, and no `overwrite`),
    `TooManyRejects` (more than the share `max_rejects` of the inputs; the ledger says which).
    """
    signer = load_signer(sign_key, passphrase) if sign_key else None
    request = Request(
        source, preset, surrogate, overwrite, max_rejects, device, checkpoint_seconds, options or SourceOptions(),
        progress, settings, signer,
    )  # fmt: skip
    return run_protect(request, Path(out))


def run_protect(request: Request, out: Path, collection: Collection | None = None) -> ProtectResult:
    """`protect`; a `collection` that was scanned before, with the same settings of how pictures are read, is not
    scanned again.
    """
    timer = PhaseTimer()
    source = collection.source if collection else request.open()
    refuse_nesting(source, out)
    runtime = request.runtime()
    request.check(source, runtime)
    ledger = Ledger(ledger_path(out))

    def scan() -> Collection:
        with timer("scan"):
            return collection or scan_source(source, request, runtime)

    with ledger.locked():
        run = open_run(source, request, runtime, ledger, out, scan)
        plan = run.plan()
        missing = run.missing(len(plan))
        if missing:
            with timer("surrogate"):
                crafting = Crafting.of(run, surrogate_of(run))
            with timer("craft"), deterministic():
                make_missing(run, crafting, plan, missing)
        with timer("finish"):
            return finish(run, len(plan), len(missing), timer)


def surrogate_of(run: Run) -> nn.Module | None:
    """The trained surrogate: the one that was given, the one in the ledger, or a new one; None where the method has
    none.
    """
    if not run.config.has_surrogate:
        return None
    path, given = run.ledger.surrogate, run.request.surrogate
    if given and not path.exists():
        save_tensors(path, *load_tensors(Path(given)))
    if path.exists():
        return load_surrogate(run.runtime, run.collection, run.config, path, Path(given) if given else path)
    files = SurrogateFiles(path, run.ledger.checkpoint, run.request.checkpoint_seconds)
    return train_surrogate(run.runtime, run.collection, run.config, files, run.request.progress)


def finish(run: Run, shards: int, made: int, timer: PhaseTimer) -> ProtectResult:
    """Write the rejects and the manifest, once every shard is done."""
    stats = [done for shard in range(shards) if (done := done_stats(run.out, shard))]
    rejected = len(run.collection.rejects) + sum(shard.rejected for shard in stats)
    if made or not (run.out / "manifest.json").exists():
        late = (row for shard in range(shards) for row in run.ledger.shard(shard) if row.reason)
        run.ledger.write_rejects(itertools.chain(rejects_of(run.collection), late))
        size, duplicates = run.collection.size, run.collection.duplicates
        machine = describe(run.runtime.device)
        made_on = {name: machine[name] for name in ("device", "torch")}
        content = ManifestContent(run.config, run.classes, size, run.fields, stats, rejected, duplicates, made_on)
        write_manifest(run.out, content, __version__)
    signed = refresh_signature(run.out, run.request.signer, run.request.progress)
    manifest = read_manifest(run.out)
    return ProtectResult(
        samples=manifest["counts"]["samples"],
        shards=shards,
        rejected=rejected,
        bytes=sum(shard.bytes for shard in stats),
        linf_max=manifest["noise"]["linf_max"],
        psnr_mean=manifest["noise"]["psnr_mean"],
        duplicates=manifest["counts"]["duplicates"],
        seconds=timer.seconds,
        out=str(run.out),
        ledger=str(run.ledger.path),
        fingerprint=run.fingerprint,
        made=made,
        signed=signed,
    )
