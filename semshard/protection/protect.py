"""The story of protect: source → surrogate → craft → quantise → encode → shard → manifest → data card.

One call makes all of it, or one of three steps: until the surrogate, a part of the shards, the manifest (`parts`).
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from .._version import __version__
from ..engine import deterministic, load_tensors, save_tensors
from ..errors import LedgerError, OutputError, SettingError
from ..progress import Progress, silent
from ..publishing import needs_description, write_description
from ..shards import manifest_sha256, read_manifest
from ..shards.signature import refresh_signature
from ..signing import load_signer
from ..sources import Collection, SourceOptions
from ..storage import is_remote
from ..workers import WorkerOptions, check_reachable
from ..workers.admission import forget_nonces
from .grow import grow
from .in_store import check_place, in_store
from .known_plan import first_shards
from .known_shards import made_on
from .known_source import KnownSource
from .nesting import refuse_nesting
from .noise import Crafting
from .output import Output
from .part import parse_part
from .parts import check_begun, check_complete, check_part, check_rejects, check_steps, forget_machine
from .publish import Finished, StatsOfShards
from .request import Request
from .result import ProtectResult, of_step
from .resume import PhaseTimer, Run, open_run
from .scan import scan_source
from .settle import is_pending, machines_in, settle
from .shard_pool import make_missing
from .surrogate import SurrogateFiles, load_surrogate, train_surrogate


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
    extend: bool = False,
    retry_rejects: bool = False,
    sign_key: str | Path | None = None,
    passphrase: str = "",
    progress: Progress = silent,
    title: str | None = None,
    licence: str | None = None,
    until: str | None = None,
    part: str | None = None,
    finish: bool = False,
    workers: WorkerOptions | None = None,
    ledger: str | Path | None = None,
    **settings: Any,
) -> ProtectResult:
    """Write protected WebDataset shards of the images at `source` into the folder `out`, its ledger beside it.

    `out` may be s3://BUCKET/PREFIX, gs://… or az://…; then the ledger is at PREFIX.ledger there, or where `ledger`, a
    URL or a folder, says. Shards are made in a temporary folder and sent one by one.

    `settings` are fields of `ProtectConfig`; radii may be written "8/255"; `options` tell more of the source. A run
    that was interrupted continues from where it stopped and ends in the same bytes; a finished one is left alone.
    Another one is replaced with `overwrite`; it is another, too, where a file of the same name has other bytes now, for
    which all are read. Without `overwrite` names and labels are compared, not contents.
    The folder gets a data card, too, in which `title` and `licence` are what the owner states: see `card`.

    With `extend`, new images of the same classes at `source`, and with `retry_rejects`, rejected inputs that can be
    read now, are added to a finished output in shards of their own, made with the same surrogate.

    `workers` are the processes, or the machines, that make the shards; who they are changes no byte.

    With `sign_key`, a file that `keygen` wrote, and its `passphrase` the finished folder is signed, as `sign` does it.

    Many processes that share a folder make one output in three steps, the same bytes as one call does: one process with
    `until` "surrogate"; then any number with a `part` each, "1/8" to "8/8", at once or not; then one with `finish`.
    A part of "auto" is taken from the environment of an array job.

    Raises `SourceError`, `SettingError`, `OutputError` (made with other settings, and no `overwrite`),
    `TooManyRejects` (more than the share `max_rejects` of the inputs, or of those of the part; the ledger says which
    the scan and finished shards rejected, the error names one that has changed since),
    `RunError` (`finish`, and shards are missing), `StorageError`.
    """
    asked = {
        "--overwrite": overwrite,
        "--extend": extend,
        "--retry-rejects": retry_rejects,
        "--sign-key": bool(sign_key),
    }
    check_place(out, ledger, asked, workers or WorkerOptions())
    signer = load_signer(sign_key, passphrase) if sign_key and not (until or part) else None
    request = Request(
        source, preset, surrogate, overwrite, max_rejects, device, checkpoint_seconds, options or SourceOptions(),
        progress, settings, extend, retry_rejects, {"title": title, "licence": licence}, signer, until,
        None if part is None else parse_part(part, os.environ), finish, workers or WorkerOptions(),
    )  # fmt: skip
    check_steps(request)
    if request.grows and overwrite:
        raise SettingError("--overwrite makes everything anew; leave it out to add images to what is there")
    if request.grows and request.workers.mixed_hardware:
        raise SettingError("what is added is made on machines of one kind: leave --mixed-hardware out")
    if not is_remote(out):
        return run_protect(request, Path(out))
    with in_store(str(out), ledger, request) as output:
        return run_protect(replace(request, progress=output.progress), output)


def run_protect(request: Request, out: Path | Output, collection: Collection | None = None) -> ProtectResult:
    """`protect`; a `collection` that was scanned before, with the same settings of how pictures are read, is not
    scanned again.
    """
    timer = PhaseTimer()
    output = out if isinstance(out, Output) else Output(out)
    known = KnownSource.of(request, output.ledger) if request.part else None
    source = collection.source if collection else known or request.open()
    refuse_nesting(source, output.url)
    runtime = request.runtime()
    request.check(source, runtime)
    out, ledger = output.out, output.ledger
    check_begun(request, ledger)
    if request.grows and not ledger.run():
        raise OutputError(f"{out} holds no run that could be given more images; leave out --extend and --retry-rejects")

    def scan() -> Collection:
        with timer("scan"):
            return collection or scan_source(source, request, runtime, ledger)

    if request.finish and ledger.is_locked:  # perhaps by parts: then this says more than that others are writing here
        check_complete(ledger, output.undone(range(ledger.state().get("shards", 0))))
    with ledger.locked(shared=request.part is not None):
        check_begun(request, ledger)  # as it is now that nobody begins another run
        run = open_run(source, request, runtime, output, scan)
        if request.grows:
            with timer("scan"):
                run = grow(run, source)
        if not request.part and is_pending(out, ledger.state()):
            settle(out, ledger, run.missing(run.share))
        if request.until:
            return until_surrogate(run, timer)
        made = craft_share(run, timer)
        if request.part:
            return of_step(run, timer, run.share, made)
        with timer("finish"):
            return finish(run, made, timer)


def until_surrogate(run: Run, timer: PhaseTimer) -> ProtectResult:
    """Train the surrogate and leave the shards to parts."""
    forget_machine(run)
    with timer("surrogate"):
        surrogate_of(run)
    return of_step(run, timer, run.share)


def craft_share(run: Run, timer: PhaseTimer) -> int:
    """Make the missing shards, of all or of the part that is asked for, and return how many they were. Where the
    manifest alone is asked for, raise `RunError` for missing ones.
    """
    missing = run.missing(run.share)
    if run.request.finish:
        check_complete(run.ledger, missing)
    if not missing:
        return 0
    if run.request.part:
        check_part(run, missing)
    check_reachable(run.request.workers)
    run.output.gather(missing)
    with timer("surrogate"):
        crafting = Crafting.of(run, surrogate_of(run))
    with timer("craft"), deterministic():
        make_missing(run, crafting, run.plan(), missing)
    return len(missing)


def surrogate_of(run: Run) -> nn.Module | None:
    """The trained surrogate: the one that was given, the one in the ledger, or a new one; None where the method has
    none.
    """
    if not run.config.has_surrogate:
        return None
    path, given = run.ledger.surrogate, run.request.surrogate

    def load() -> nn.Module:
        return load_surrogate(run.runtime, run.collection, run.config, path, Path(given) if given else path)

    if given and not path.exists():
        save_tensors(path, *load_tensors(Path(given)))
        run.output.surrogate_written()
    if path.exists():
        return load()
    if run.history:
        raise LedgerError(f"{path} is missing; another surrogate would not be the one that the shards were made with")
    files = SurrogateFiles(path, run.ledger.checkpoint, run.request.checkpoint_seconds, saved=run.ledger.saved)
    model = train_surrogate(run.runtime, run.collection, run.config, files, run.request.progress)
    return model if run.output.surrogate_written() else load()


def finish(run: Run, made: int, timer: PhaseTimer) -> ProtectResult:
    """Write the rejects and the manifest, once every shard is done; the ledger's record of the manifest comes last, so
    that a call that finds none, or another, writes all of it again.
    """
    forget_nonces(run.ledger.path)
    shards = len(run.share)
    stats = StatsOfShards(shards, run.output.stats)
    if run.request.finish:
        check_rejects(run, stats)
    recorded = run.ledger.published() == manifest_sha256(run.out)
    if made or not recorded or is_pending(run.out, run.ledger.state()):
        run.output.gather(run.share)
        known, record = run.ledger.held(), run.ledger.record(0)
        first = first_shards(run.history)
        machine = machines_in(run.ledger, shards if first is None else first)
        machine = machine or _stated_machine(run, made) or made_on(run)
        version = record.get("version", __version__)
        Finished(run.out, run.ledger, known, run.config, run.fields, machine, version).publish(
            stats, run.request.progress
        )
    if needs_description(run.out, run.request.stated):
        write_description(run.out, run.request.stated)
    signed = refresh_signature(run.out, run.request.signer, run.request.progress)
    run.output.finished()
    manifest = read_manifest(run.out)
    return ProtectResult(
        samples=manifest["counts"]["samples"],
        shards=shards,
        rejected=manifest["counts"]["rejected"],
        bytes=sum(record["bytes"] for record in manifest["shards"]),
        linf_max=manifest["noise"]["linf_max"],
        psnr_mean=manifest["noise"]["psnr_mean"],
        duplicates=manifest["counts"]["duplicates"],
        seconds=timer.seconds,
        out=run.output.url,
        ledger=run.output.ledger_url,
        fingerprint=run.fingerprint,
        made=made,
        signed=signed,
    )


def _stated_machine(run: Run, made: int) -> dict[str, str] | None:
    """Where a finished run of an earlier version, whose ledger does not know it, says that its shards were made."""
    if made or run.ledger.published() is not None or not manifest_sha256(run.out):
        return None
    return read_manifest(run.out).get("made_on")
