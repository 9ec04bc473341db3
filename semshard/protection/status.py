"""How far a run is, from what is on disk: nothing is written, and a run that is under way is not disturbed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import LedgerError, ShardError, StorageError
from ..settings.names import NO_NETWORK
from ..shards import (
    Ledger,
    ShardStats,
    digits_for,
    done_stats,
    ledger_path,
    open_shards,
    read_manifest,
    shard_in,
    tar_name,
    was_removed,
)
from ..shards.manifest import FILE as MANIFEST
from ..storage import Place, is_remote, open_place
from .in_store import ledger_beside
from .settle import is_pending, is_unrecorded


@dataclass(frozen=True)
class Status:
    """How far a run is. Counts are None where nothing on disk says them yet."""

    out: str
    phase: str  # scan | surrogate | craft | finish | done | damaged
    running: bool | None  # whether a process holds the ledger's lock; None on a store, which has no locks
    has_ledger: bool
    inputs: int | None = None
    rejected: int | None = None  # by the scan, and by the shards that are done
    removed: int | None = None  # on request
    step: int | None = None  # of the surrogate's training
    steps: int | None = None  # 0 where the method has no surrogate
    shards_done: int | None = None
    shards: int | None = None
    change: str = ""  # the change of a finished folder that is not complete: extend, retry-rejects or remove
    next: str = ""  # what to do, in one line

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def status(shards: str | Path) -> Status:
    """How far the run is whose output is the folder `shards`, and what to do next; of shards on an object store,
    whether all of them are there, or how many are, and whether a ledger is beside them.

    Raises `ShardError` where there is neither a ledger nor anything that `protect` wrote, and as
    `open_shards` does.
    """
    if is_remote(shards):
        return _of_copy(str(shards))
    out, ledger = Path(shards), Ledger(ledger_path(Path(shards)))
    running, known = ledger.is_locked, ledger.known()
    if known is not None:
        return _of_run(out, ledger, known, running)
    if ledger.path.is_dir() and not (out / "manifest.json").exists():
        again = "the same protect command starts again with the scan"
        again += (
            f"; rejected files are in {ledger.path}/rejects.jsonl" if (ledger.path / "rejects.jsonl").exists() else ""
        )
        return Status(str(out), "scan", running, True, next="wait: it is scanning" if running else again)
    return _without_ledger(out)


def _of_copy(url: str) -> Status:
    """Of shards on an object store: the manifest says how many there are; until then their marks are counted."""
    place = open_place(url)
    ledger = ledger_beside(place.url)
    private = None if ledger is None else open_place(ledger)
    has_ledger = private is not None and _has(private, "run.json")
    try:
        opened = open_shards(url)
    except ShardError:
        names = [entry.name for entry in place.list()]
        done = sum(shard_in(name) is not None and name.endswith(".json") for name in names)
        if MANIFEST in names or not (names or has_ledger):
            raise
        trained = bool(names) or (private is not None and _has(private, "surrogate.safetensors"))
        again = "the same protect command continues it; with --finish it says which shards are missing"
        return Status(url, "craft" if trained else "surrogate", None, has_ledger, shards_done=done, next=again)
    tars = {tar.name for tar in opened.tars}
    done = sum(plain for name, plain in opened.files.listed() if name in tars)
    found = replace(_finished(url, opened.manifest, done), running=None, has_ledger=has_ledger)
    if not has_ledger or found.phase != "done":
        return found
    return replace(found, next=f"semshard audit {url} and semshard verify {url}, each with --ledger {ledger}, check it")


def _has(place: Place, name: str) -> bool:
    """Whether a file is there, and may be read by who asks."""
    try:
        return place.size(name) >= 0
    except (FileNotFoundError, StorageError):
        return False


def _without_ledger(out: Path) -> Status:
    manifest = read_manifest(out)
    count = manifest["counts"]["shards"]
    tars = (out / tar_name(shard, digits_for(count)) for shard in range(count))
    return _finished(str(out), manifest, sum(tar.exists() for tar in tars))


def _finished(out: str, manifest: Mapping[str, Any], done: int) -> Status:
    """Where the manifest is all that is known; `done` of its tars are there."""
    counts = manifest["counts"]
    whole = done == counts["shards"]
    return Status(
        out, "done" if whole else "damaged", False, False, counts["inputs"], counts["rejected"], shards_done=done,
        shards=counts["shards"],
        next=f"semshard audit {out} checks it; without its ledger it can be neither repaired nor changed",
    )  # fmt: skip


def _of_run(out: Path, ledger: Ledger, known: Mapping[str, Any], running: bool) -> Status:
    settings, reasons = known["settings"], ledger.scanned("reason")["reason"].tolist()
    steps = 0 if settings["method"] in NO_NETWORK else int(settings["steps"])
    step = steps if ledger.surrogate.exists() else _step(ledger.checkpoint)
    shards = known.get("shards")
    done = [stats for shard in range(shards or _present(out)) if (stats := _done(out, shard, ledger.digits))]
    removed = sum(was_removed(reason) for reason in reasons)
    late = sum(stats.rejected for stats in done)
    finished, readable = (out / "manifest.json").exists(), _is_readable(out)
    settled = readable and not is_pending(out, dict(known)) and not is_unrecorded(out, ledger)
    change = known["history"][-1]["action"] if readable and not settled and known.get("history") else ""
    whole = len(done) == (shards if shards is not None else len(done))
    phase = (
        "done" if settled and whole
        else "damaged" if finished and not change
        else "surrogate" if step < steps
        else "finish" if whole and shards is not None
        else "craft"
    )  # fmt: skip
    rejected = sum(map(bool, reasons)) - removed + late
    return Status(
        str(out), phase, running, True, len(reasons), rejected, removed, step, steps, len(done), shards, change,
        _next(out, phase, running, change, rejected),
    )  # fmt: skip


def _next(out: Path, phase: str, running: bool, change: str, rejected: int) -> str:
    if running:
        return "wait: it is running"
    if change == "remove":
        return f"semshard repair {out} completes the removal, and so does the same remove command"
    if change:
        return f"the same protect command completes {change}, with or without --{change}"
    match phase:
        case "damaged":
            return f"semshard repair {out} remakes what is missing or damaged"
        case "done":
            more = "; when rejected files were fixed, protect --retry-rejects adds them" if rejected else ""
            return f"semshard audit {out} and semshard verify {out} check it{more}"
    return "the same protect command continues it"


def _done(out: Path, shard: int, digits: int) -> ShardStats | None:
    try:
        return done_stats(out, shard, digits)
    except ShardError:
        return None


def _is_readable(out: Path) -> bool:
    try:
        read_manifest(out)
    except ShardError:
        return False
    return True


def _present(out: Path) -> int:
    """A number that no shard there exceeds, where the ledger does not say how many there should be."""
    return max((shard + 1 for path in out.glob("*.tar") if (shard := shard_in(path.name)) is not None), default=0)


def _step(checkpoint: Path) -> int:
    """The step that a training had reached when it was last saved; 0 where it was not."""
    try:
        with safe_open(checkpoint, framework="np") as file:
            return int(json.loads((file.metadata() or {})["semshard"])["step"])
    except FileNotFoundError:
        return 0
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise LedgerError(f"{checkpoint} is damaged ({error})") from None
