"""The story of audit: shards → every promise recomputed from the bytes → pass, or the list of what is broken.

folder → shards (files → samples → against their originals) → totals → accounts
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LedgerError, ShardError
from ..progress import Event, Progress, remarks, silent
from ..shards import Shards, files_of, manifest_sha256, open_shards
from ..shards.attestation import problems
from ..signing import load_verifier
from ..storage import is_remote, open_place
from .accounts import accounts
from .against_originals import Comparison
from .described import described
from .failure import Failure
from .history import broken_history
from .inventory import Inventory
from .manifest import manifest
from .one_shard import audit_shard
from .originals import find_originals
from .public_folder import WHOLE_FOLDER, public_folder
from .remainder import Remainder
from .rights import broken_rights
from .signature import signature_failures, signature_state


@dataclass
class AuditResult:
    """What an audit checked, and what is broken."""

    checked: int = 0  # samples read
    compared: int = 0  # of these, how many were compared with their clean originals
    shards: int = 0
    linf_max: int | None = None  # grey levels, over the compared
    signature: str = "none"  # or: not checked, for no key was given; valid; invalid
    remainder: dict[str, Any] | None = None  # what simple filters leave of the noise: see `Remainder.to_json`
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
    progress: Progress = silent,
) -> AuditResult:
    """Recompute every promise about the folder `shards`, or the shards at s3://…, gs://… or az://…, from the bytes.

    Hashes, sizes and counts against the manifest; every image; keys, labels and fields against parquet and manifest;
    the data card; nothing private in the public folder; with the ledger, or with the source `clean`, the L∞ distance of
    every image from its original; with the ledger, that every input is accounted for; with the folder of a `report`,
    that it is complete and belongs to these shards; with the file of a public `key`, that the folder is signed with it.
    The `ledger` is the one beside the folder unless another is given; shards on an object store have none until then,
    and are compared with no originals.
    Raises `ShardError` where there is no manifest to audit against, `SettingError` where the key cannot be read, and
    what `open_shards` raises.
    """
    verifier = load_verifier(key) if key is not None else None
    try:
        opened = open_shards(shards, ledger=ledger, progress=progress)
    except ShardError as error:
        if not _has_manifest(shards):
            raise
        return AuditResult(failures=[Failure("manifest.json", "", str(error))])
    opened.files.keep(*WHOLE_FOLDER)
    result = AuditResult(signature=signature_state(opened, verifier))
    result.failures += signature_failures(opened, verifier)
    result.failures += public_folder(opened)
    result.failures += described(opened, remarks(progress))
    if report is not None:
        result.failures += _report(opened, Path(report))
    comparison, inventory = _comparison(opened, clean, result), Inventory()
    for number in range(len(opened.tars)):
        with opened.at_hand(*files_of(opened.tars[number])):
            result.checked += audit_shard(opened, number, comparison, inventory, result.failures)
        result.shards += 1
        progress(Event("audit", result.shards, len(opened.tars), "shards", {"failures": len(result.failures)}))
    if comparison:
        comparison.finish()
        result.compared, result.linf_max = comparison.compared, comparison.linf_max
        result.remainder = comparison.remainder.to_json()
    result.failures += broken_rights(opened, comparison.originals if comparison else None)
    result.failures += broken_history(opened)
    result.failures += inventory.failures(opened)
    result.failures += manifest(opened, len(inventory), sum(inventory.rejected.values()))
    if opened.ledger.exists():
        result.failures += accounts(opened, inventory)
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
    for file, problem in problems(folder, manifest_sha256(shards.directory)):
        yield Failure(file, "", problem)


def _comparison(shards: Shards, clean: str | Path | None, result: AuditResult) -> Comparison | None:
    """What compares samples with their originals; None where these are not known."""
    try:
        originals = find_originals(shards, clean)
    except (LedgerError, ShardError) as error:
        result.failures.append(Failure("ledger" if isinstance(error, LedgerError) else "shards", "", str(error)))
        return None
    remainder = Remainder(shards.manifest["settings"], len(shards))
    return Comparison(shards, originals, result.failures, remainder) if originals else None
