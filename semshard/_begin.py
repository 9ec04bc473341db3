"""How protect begins: with the run that the ledger knows, if it is this one, or a fresh one."""

from __future__ import annotations

import hashlib
import math
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

from ._train import Request, begin_config, limit_rejects, scan_source
from ._version import __version__
from .atomic import remove_leftovers
from .config import ProtectConfig, fingerprint, to_json
from .engine import Runtime, permutation
from .errors import OutputError
from .noise.methods import check_block
from .shards import Ledger, LedgerRow
from .sources import Collection, Source


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


def begin(source: Source, out: Path, ledger: Ledger, runtime: Runtime, request: Request, clock: Clock) -> Job:
    """The run that the ledger knows, if it is this one, or a fresh one. Raises as `protect` does."""
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
    check_method(runtime, collection, config)
    run = _describe(source, config, collection.size, runtime, request.surrogate)
    _clear(out, ledger)
    ledger.write_sources(rows)
    ledger.begin(run)
    return Job(runtime, collection, config, out, ledger, run["fingerprint"])


def check_method(runtime: Runtime, collection: Collection, config: ProtectConfig) -> None:
    """Raise `SettingError` where the method cannot do with these images or this memory."""
    if config.method == "ntga":
        check_block(runtime, config, len(collection.usable), 3 * math.prod(collection.size))


def _describe(
    source: Source, config: ProtectConfig, size: tuple[int, int], runtime: Runtime, surrogate: str | Path | None
) -> dict[str, Any]:
    """What run.json says. All of it but `source` and `software` decides whether an output belongs to a command."""
    own = "trained" if config.has_surrogate else "none"
    given = hashlib.sha256(Path(surrogate).read_bytes()).hexdigest() if surrogate else own
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
    """Raise `OutputError` where one of source and output lies inside the other."""
    root, target = os.path.realpath(source.spec), os.path.realpath(out)
    if os.path.isdir(root) and os.path.commonpath([root, target]) == root:
        raise OutputError(f"--out {out} lies inside the source; the shards would become its images")
    if os.path.isdir(root) and os.path.commonpath([root, target]) == target:
        raise OutputError(f"--out {out} contains the source, which must not be published")
