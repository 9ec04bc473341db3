"""How a run is opened: the run that the ledger knows, if it is this one, or a new one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._version import __version__
from ..digests import sha256_of
from ..engine import Runtime, permutation
from ..errors import OutputError, SettingError
from ..noise.methods import ONE_SIZE, check_block
from ..publishing import is_description
from ..settings import MOST_IN_SHARD, ProtectConfig, Size, fingerprint, method_plugin, to_json
from ..shards import Fields, Ledger, LedgerRow, ShardStats, list_in, metadata_blocks, shard_in
from ..shards.ledger_files import is_ledger_file
from ..shards.manifest import FILE as MANIFEST
from ..signing import FILE as SIGNATURE
from ..sources import Collection, Source
from ..sources.by_rows import about_source
from ..sources.in_order import InOrder
from .index_rows import tables_of
from .known_plan import KnownPlan, first_shards, has_changed, known_collection, only_removed_differ
from .known_source import KnownSource
from .output import Output
from .request import Request
from .scan import check_collection

Scan = Callable[[], Collection]  # decodes every input of the source


@dataclass
class PhaseTimer:
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
class Run:
    """Everything decided: what is protected, how, where it goes, and on which device."""

    request: Request
    runtime: Runtime
    collection: Collection
    config: ProtectConfig
    output: Output
    fingerprint: str
    known_plan: KnownPlan | None = None  # of a run that its ledger knows

    @property
    def out(self) -> Path:
        """The folder that shards and manifest are written into."""
        return self.output.out

    @property
    def ledger(self) -> Ledger:
        """The ledger of the run."""
        return self.output.ledger

    @property
    def classes(self) -> tuple[str, ...]:
        return self.collection.classes

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was changed since the run was finished for the first time."""
        return self.known_plan.history if self.known_plan else []

    @property
    def first_planned(self) -> Collection:
        """The collection with the inputs that the first plan had, those among them that were removed since included,
        and no others as its usable ones: what noise that looks at other images is made with, whatever was added later.
        """
        if not self.known_plan or not self.history or isinstance(self.collection.source, KnownSource):
            return self.collection
        planned = np.concatenate([np.zeros(0, np.int64), *self.known_plan.shards[: first_shards(self.history)]])
        others = np.setdiff1d(np.arange(len(self.collection.source)), planned)
        return replace(self.collection, rejects=dict.fromkeys(others.tolist(), "was not planned"))

    def plan(self) -> Sequence[NDArray[np.int64]]:
        """The inputs of each shard, as the ledger has it, from where a part reads its own only; of a new run those of
        the source's own shards, or the usable ones, shuffled by the seed, cut.
        """
        if self.known_plan:
            return self.known_plan.shards if self.request.part else list(self.known_plan.shards)
        usable, given = self.collection.usable, self.collection.source.shards
        if given is not None:
            return [usable[slice(*np.searchsorted(usable, (each.start, each.stop)))] for each in given]
        order = permutation(len(usable), self.config.seed, "shards").numpy()
        size = self.config.shard_size
        return [usable[order[at : at + size]] for at in range(0, len(usable), size)]

    @property
    def share(self) -> Sequence[int]:
        """The shards that this call is about: all, or those of its part."""
        count = len(self.known_plan.shards if self.known_plan else self.plan())
        return self.request.part.every_nth(count) if self.request.part else range(count)

    def missing(self, shards: Iterable[int]) -> list[int]:
        """Which of those shards are not done."""
        return self.output.undone(shards)

    def done(self, shards: Iterable[int]) -> list[ShardStats]:
        """What those of the shards that are done hold."""
        return [stats for stats in self.output.stats_of(shards) if stats]

    @property
    def fields(self) -> Fields:
        """What a published sample consists of."""
        return fields_of(self.config, self.collection.source)


def fields_of(config: ProtectConfig, source: Source) -> Fields:
    """What a published sample of a source consists of."""
    plain = Fields(config.format, metadata_blocks(config.keep_metadata, config.reserve))
    return replace(plain, carried=tuple(sorted(map(plain.published, source.fields))))


def open_run(source: Source, request: Request, runtime: Runtime, output: Output, scan: Scan) -> Run:
    """The run that the ledger knows, if it is this one, or a new one, for which the source is scanned. Raises as
    `protect` does.
    """
    output.out.mkdir(parents=True, exist_ok=True)
    output.ledger.clean(output.out)
    opening = _Opening(source, request, runtime, output)
    known = output.ledger.known()
    return (opening.resume(known) if known else None) or opening.create(scan)


@dataclass(frozen=True)
class _Opening:
    """What a run is opened with."""

    source: Source
    request: Request
    runtime: Runtime
    output: Output

    @property
    def out(self) -> Path:
        return self.output.out

    @property
    def ledger(self) -> Ledger:
        return self.output.ledger

    def resume(self, known: Mapping[str, Any]) -> Run | None:
        """The run that the ledger knows, if it is this one; None where it is another and may be overwritten."""
        size = (known["size"][0], known["size"][1]) if known["size"] else None
        config = self.request.config(size, self.runtime)
        run = self._describe(config, size)
        source, compared = self.source, run
        if not isinstance(source, KnownSource) and (known.get("history") or self.request.grows):
            source = InOrder(self.source, self.ledger.names())
            if self.request.grows or only_removed_differ(self.source, self.ledger):
                compared = run | {"source_digest": known["source_digest"], "classes": []}  # `grow` looks closer
        if self.request.overwrite and _differences(self.out, known, compared):
            return None
        self._refuse_other(known, compared)
        plan = KnownPlan.of(self.ledger)
        if isinstance(source, KnownSource):
            return self._run(source.outline(config), config, run, plan)
        collection = known_collection(source, self.ledger, config, known)
        if self.request.overwrite and has_changed(collection, self.request.progress):
            return None
        return self._run(collection, config, run, plan)

    def create(self, scan: Scan) -> Run:
        """A new run: scan the source, decide the settings, take possession of the output."""
        _refuse_foreign(self.out, self.ledger, self.request.overwrite)
        collection = scan()
        self.ledger.write_rejects(rejects_of(collection))
        self.ledger.saved(self.ledger.path / "rejects.jsonl")
        check_collection(collection, self.request, f"; see {self.ledger.path / 'rejects.jsonl'}")
        config = self.request.config(collection.size, self.runtime)
        check_method(self.runtime, collection, config)
        run = self._describe(config, collection.size) | {
            "classes": list(collection.classes), "duplicates": collection.duplicates
        }  # fmt: skip
        _clear(self.out, self.ledger)
        opened = self._run(collection, config, run)
        shards = opened.plan()
        self.ledger.index.write(tables_of(collection, shards), {"shards": len(shards)}, about_source(self.source))
        self._refuse_other(self.output.claim(run), run)
        self.output.begun()
        return replace(opened, known_plan=KnownPlan(shards, []))

    def _refuse_other(self, known: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Raise `OutputError` where the run that holds the output is not this one."""
        if differences := _differences(self.out, known, run):
            raise OutputError(f"{self.out} belongs to another run: {'; '.join(differences)}. {self.output.anew}")

    def _run(
        self,
        collection: Collection,
        config: ProtectConfig,
        run: Mapping[str, Any],
        plan: KnownPlan | None = None,
    ) -> Run:
        return Run(self.request, self.runtime, collection, config, self.output, run["fingerprint"], plan)

    def _describe(self, config: ProtectConfig, size: Size) -> dict[str, Any]:
        """What run.json says. All of it but place, options and software decides whether an output belongs to a
        command.
        """
        source, request = self.source, self.request
        own = "trained" if config.has_surrogate else "none"
        given = sha256_of(Path(request.surrogate)) if request.surrogate else own
        run: dict[str, Any] = {
            "schema_version": 1,
            "source": source.spec,
            "source_options": request.options.to_json(),
            "source_digest": source.digest,
            "inputs": len(source),
            "classes": list(source.classes),
            "size": list(size) if size else None,
            "settings": to_json(config),
            "surrogate": given,
            "software": {"semshard": __version__, "torch": torch.__version__, "device": self.runtime.device.type},
        }
        if method := method_plugin(config.method):
            run["software"][method.package] = method.version
        return run | {"fingerprint": fingerprint(run["source_digest"], run["settings"], run["surrogate"])}


def rejects_of(collection: Collection) -> Iterator[LedgerRow]:
    """The inputs that the scan found unusable."""
    for number, reason in collection.rejects.items():
        yield LedgerRow(number, collection.source.entry(number).name, collection.digest(number), reason=reason)


def check_method(runtime: Runtime, collection: Collection, config: ProtectConfig) -> None:
    """Raise `SettingError` where the method cannot work on these images or in this memory."""
    if config.method == "ntga":
        if collection.size is None:
            raise SettingError(ONE_SIZE)
        check_block(runtime, config, len(collection.usable), 3 * math.prod(collection.size))
    if config.keep_metadata in ("icc", "all") and collection.size is not None:
        raise SettingError(f"keep_metadata {config.keep_metadata} is for photographs at their own resolution")
    shards, most = collection.source.shards, MOST_IN_SHARD
    if shards is not None and max(map(len, shards)) > most:
        raise SettingError(
            f"a tar of {collection.source.spec} holds more than {most:,} samples, the most that a key can count"
        )


def _differences(out: Path, known: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """In which points the run that the ledger knows is not this one, in words."""
    then, now = {**known, **known["settings"]}, {**run, **run["settings"]}
    names = [name for name in ("surrogate", *run["settings"]) if then.get(name) != now[name]]
    differences = [f"{name} was {then.get(name)}, is {now[name]}" for name in names]
    if run["classes"] and known["classes"] != run["classes"]:
        differences.insert(0, "the source's classes have other names")
    if known["source_digest"] != run["source_digest"]:
        differences.insert(0, f"the source had {known['inputs']} files, has {run['inputs']}, or other names")
        differences[0] += " (--extend adds new images)" if run["inputs"] > known["inputs"] else ""
    if not differences and not (out / "manifest.json").exists():  # half of a run by one software, half by another
        software = run["software"]
        differences = [f"{k} was {v}, is {software[k]}" for k, v in known["software"].items() if v != software[k]]
    return differences


def _refuse_foreign(out: Path, ledger: Ledger, overwrite: bool) -> None:
    """Files that semshard did not write are never deleted; its own only where `overwrite` says so."""
    foreign = [path for path in out.iterdir() if not _is_ours(path)]
    if foreign:
        raise OutputError(f"{out} holds {foreign[0].name}, which semshard did not write; choose an empty --out")
    if any(out.iterdir()) and not overwrite:
        gone = f"{out} holds shards, but their ledger {ledger.path} is gone"
        raise OutputError(f"{gone}; give --overwrite or another --out")


def _is_ours(path: Path) -> bool:
    """Whether semshard wrote the file."""
    name = path.name
    is_public = name in (MANIFEST, SIGNATURE) or shard_in(name) is not None or list_in(name) is not None
    return is_public or is_ledger_file(name) or is_description(path)


def _clear(out: Path, ledger: Ledger) -> None:
    """Delete every file of ours, except what this run has written and holds."""
    kept = {"lock", "rejects.jsonl"}
    for path in [*out.iterdir(), *ledger.path.iterdir()]:
        if path.name not in kept and _is_ours(path):
            path.unlink()
