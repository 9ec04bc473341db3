"""The story of audit: shards → every promise recomputed from the bytes → pass, or the list of what is broken.

folder → shards (files → samples → against their originals), several at once → totals → accounts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LedgerError, ShardError
from ..progress import Event, Progress, remarks, silent
from ..publishing.verdict import FILE as VERDICT
from ..publishing.verdict import read_verdict, verdict_of
from ..shards import Shards, manifest_sha256, open_shards
from ..shards.attestation import problems
from ..signing import load_verifier
from ..storage import is_remote, local_path, open_place
from ..workers import WorkerOptions
from .accounts import accounts
from .described import described
from .failure import Failure
from .history import broken_history
from .inventory import Inventory
from .manifest import broken_lists, canonical, manifest
from .one_shard import AuditOrder
from .originals import Originals, find_originals
from .part import shards_of_part
from .public_folder import WHOLE_FOLDER, files_of_part, public_folder
from .remainder import Remainder
from .repeated_noise import RepeatedNoise
from .several import audit_several
from .signature import audit_signature


@dataclass
class AuditResult:
    """What an audit checked, and what is broken."""

    checked: int = 0  # samples read
    compared: int = 0  # of these, how many were compared with their clean originals
    shards: int = 0
    linf_max: int | None = None  # grey levels, over the compared
    signature: str = "none"  # or: not checked, for no key was given; valid; invalid
    remainder: dict[str, Any] | None = None  # what simple filters leave of the noise: see `Remainder.to_json`
    part: dict[str, int] | None = None  # first and last shard, of how many, where only a part was audited
    failures: list[Failure] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failures

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def audit(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    ledger: str | Path | None = None,
    report: str | Path | None = None,
    key: str | Path | None = None,
    part: str | None = None,
    only: str | None = None,
    workers: WorkerOptions | None = None,
    progress: Progress = silent,
) -> AuditResult:
    """Recompute every promise about the folder `shards`, or the shards at s3://…, gs://… or az://…, from the bytes.

    Hashes, sizes and counts against the manifest; every image; keys, labels and fields against parquet and manifest;
    the data card; nothing private in the public folder; with the ledger, or with the source `clean`, the L∞ distance of
    every image from its original; with the ledger, that every input is accounted for; with the folder of a `report`,
    that it is complete and belongs to these shards, and that a published verdict is its own; with the file of a public
    `key`, that the folder is signed with it.

    With `part`, "I/N", that one of N equal parts of the shards is audited, with `only`, "100-199", the shards with
    these numbers: each of them completely, and manifest, card and signature, but nothing that needs all shards. The
    `workers` share the shards: processes of this machine, by default one per core where that is worth their start, or
    actors on a Ray cluster.

    The `ledger` is the one beside the folder unless another is given; shards on an object store have none until then,
    and are compared with no originals.

    Raises `ShardError` where there is no manifest to audit against, `SettingError` where the key cannot be read, or
    there is no such part or the workers are impossible, and what `open_shards` raises.
    """
    options = workers or WorkerOptions()
    options.check()
    options.refuse_mixed("an audit")
    verifier = load_verifier(key) if key is not None else None
    try:
        opened = open_shards(shards, ledger=ledger, progress=progress)
    except ShardError as error:
        if not _has_manifest(shards):
            raise
        return AuditResult(failures=[Failure("manifest.json", "", str(error))])
    chosen = shards_of_part(opened.count, part, only)
    opened.files.keep(*WHOLE_FOLDER)
    here = range(opened.count) if chosen is None else chosen
    result = AuditResult()
    result.signature, result.failures = audit_signature(opened, verifier)
    result.failures += public_folder(opened) if chosen is None else files_of_part(opened, chosen)
    result.failures += broken_lists(opened, here)
    result.failures += described(opened, remarks(progress))
    if report is not None:
        result.failures += _report(opened, local_path(report, "report"))
    inventory = _audit_shards(opened, here, _originals(opened, clean, here, result), options, result, progress)
    if chosen is None:
        result.failures += _all_together(opened, inventory)
    else:
        result.part = {"first": chosen.start, "last": chosen.stop - 1, "of": opened.count}
        result.failures += canonical(opened)
    return result


def _has_manifest(shards: str | Path) -> bool:
    if not is_remote(shards):
        return (Path(shards) / "manifest.json").exists()
    try:
        open_place(shards).size("manifest.json")
    except FileNotFoundError:
        return False
    return True


def _report(shards: Shards, folder: Path) -> Iterator[Failure]:
    digest = manifest_sha256(shards.directory)
    wrong = list(problems(folder, digest))
    yield from (Failure(file, "", problem) for file, problem in wrong)
    try:
        published = read_verdict(shards.directory, digest)
    except ShardError:
        return  # `described` names it
    if published and not wrong and published != verdict_of(folder, digest):
        yield Failure(VERDICT, "", "is not the verdict of the report")


def _originals(shards: Shards, clean: str | Path | None, here: range, result: AuditResult) -> Originals | None:
    """The originals of those shards; None where they are not known."""
    try:
        return find_originals(shards, clean, here)
    except (LedgerError, ShardError) as error:
        result.failures.append(Failure("ledger" if isinstance(error, LedgerError) else "shards", "", str(error)))
        return None


def _audit_shards(
    shards: Shards,
    here: range,
    originals: Originals | None,
    options: WorkerOptions,
    result: AuditResult,
    progress: Progress,
) -> Inventory:
    """Audit those shards, add what was found of each to the result, in order, and return their samples."""
    sizes = _sizes(shards, here)
    by_ledger, proofs = shards.ledger.exists(), len(here) < shards.count
    order = AuditOrder(shards, sum(samples for samples, _ in sizes), by_ledger, proofs)
    inventory, noise = Inventory(), RepeatedNoise(shards)
    remainder = Remainder(shards.manifest["settings"], order.samples)
    for found in audit_several(order, here, sizes, originals, options, progress):
        result.failures += found.failures
        result.checked += found.samples
        result.compared += found.compared
        result.shards += 1
        if found.linf_max is not None:
            result.linf_max = max(result.linf_max or 0, found.linf_max)
        if found.noise:
            noise.add(found.noise)
        if found.remainder:
            remainder.merge(found.remainder)
        inventory.add(found)
        progress(Event("audit", result.shards, len(here), "shards", {"failures": len(result.failures)}))
    result.failures += noise.failures()
    result.remainder = remainder.to_json()
    return inventory


def _sizes(shards: Shards, here: range) -> list[tuple[int, int]]:
    """Samples and bytes of each of those shards, as the manifest says; 0 and 0 where its file cannot be read."""
    sizes = []
    for shard in here:
        try:
            record = shards.records[shard]
            sizes.append((record["samples"], record["bytes"]))
        except ShardError:
            sizes.append((0, 0))
    return sizes


def _all_together(shards: Shards, inventory: Inventory) -> Iterator[Failure]:
    """What only all shards together show."""
    yield from broken_history(shards)
    yield from inventory.failures(shards)
    yield from manifest(shards, len(inventory), sum(inventory.rejected.values()))
    if shards.ledger.exists():
        yield from accounts(shards, inventory)
