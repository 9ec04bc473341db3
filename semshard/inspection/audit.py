"""The story of audit: shards → every promise recomputed from the bytes → pass, or the list of what is broken."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import LedgerError, ShardError
from ..progress import Event, Progress, silent
from ..shards import Fields, Ledger, Shards, decode_picture, ledger_path, open_shards, read_tar
from ..shards.attestation import problems
from ..shards.writer import COLUMNS
from ..signing import FILE as SIGNATURE
from ..signing import load_verifier
from .failure import Failure
from .originals import Originals, find_originals
from .signature import signature_failures, signature_state

_PUBLIC = re.compile(r"[0-9]{5}(\.tar|\.parquet|_stats\.json)|manifest(\.dsse)?\.json")
_ABOUT = {"class", "width", "height", "linf", "sha256"}
_KEY = re.compile(r"[0-9]{10}")
_PATH = re.compile(r"(^|[\s\"'=])(/[^/\s]+/|[A-Za-z]:\\)")
_TOGETHER = 1 << 26  # values that are compared with their originals at once
_HEADER = {"uid": 0, "gid": 0, "uname": "", "gname": "", "mtime": 0, "mode": 0o644, "linkname": ""}


_Fail = Callable[..., None]  # where, problem, key: see `_audit_shard`; the first and the last may be bound already


@dataclass
class AuditResult:
    """What an audit checked, and what is broken."""

    checked: int = 0  # samples read
    compared: int = 0  # of these, how many were compared with their clean originals
    shards: int = 0
    linf_max: int | None = None  # grey levels, over the compared
    signature: str = "none"  # or: not checked, for no key was given; valid; invalid
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
    report: str | Path | None = None,
    key: str | Path | None = None,
    progress: Progress = silent,
) -> AuditResult:
    """Recompute every promise about the folder `shards` from its bytes.

    Hashes, sizes and counts against the manifest; every image; keys, labels and fields against parquet and manifest;
    nothing private in the public folder; with the ledger, or with the source `clean`, the L∞ distance of every image
    from its original; with the ledger, that every input is accounted for; with the folder of a `report`, that it is
    complete and belongs to these shards; with the file of a public `key`, that the folder is signed with it. Raises
    `ShardError` where there is no manifest to audit against, `SettingError` where the key cannot be read.
    """
    verifier = load_verifier(key) if key is not None else None
    opened = open_shards(shards)
    result = AuditResult(signature=signature_state(opened, verifier))
    result.failures += signature_failures(opened, verifier)
    result.failures += _public_folder(opened)
    if report is not None:
        manifest_sha256 = _sha256(opened.directory / "manifest.json")
        result.failures += [Failure(file, "", problem) for file, problem in problems(Path(report), manifest_sha256)]
    try:
        originals = find_originals(opened, clean)
    except LedgerError as error:
        originals = None
        result.failures.append(Failure("ledger", "", str(error)))
    seen: set[str] = set()
    for number in range(len(opened.tars)):
        _audit_shard(opened, number, originals, seen, result)
        result.shards += 1
        progress(Event("audit", result.shards, len(opened.tars), "shards", {"failures": len(result.failures)}))
    result.failures += _totals(opened, len(seen))
    if ledger_path(opened.directory).exists():
        result.failures += _accounts(opened, seen)
    return result


# --- the public folder and its totals ------------------------------------------------------------------------------


def _public_folder(shards: Shards) -> Iterator[Failure]:
    expected = {"manifest.json"}
    for tar in shards.tars:
        expected |= {tar.name, f"{tar.stem}.parquet", f"{tar.stem}_stats.json"}
    present = {path.name for path in shards.directory.iterdir()}
    for name in sorted(present - expected - {SIGNATURE}):
        known = _PUBLIC.fullmatch(name)
        yield Failure(name, "", f"does not belong in {'these shards' if known else 'a public folder'}")
    for name in sorted(expected - present):
        yield Failure(name, "", "is missing")
    for text in _strings(shards.manifest):
        if _PATH.search(text):
            yield Failure("manifest.json", "", f"holds a path: {text!r}")


def _totals(shards: Shards, samples: int) -> Iterator[Failure]:
    """The manifest against itself and against the number of `samples` in the tars."""
    counts = shards.manifest["counts"]
    for name, number in (("samples", samples), ("shards", len(shards.tars))):
        if counts[name] != number:
            yield Failure("manifest.json", "", f"counts {counts[name]} {name}, found {number}")
    if counts["inputs"] != counts["samples"] + counts["rejected"]:
        yield Failure("manifest.json", "", f"{counts['inputs']} inputs, but {counts}")
    stated = shards.manifest["noise"]["linf_max"]
    largest = max((shard["linf_max"] for shard in shards.manifest["shards"]), default=0)
    if stated != largest:
        yield Failure("manifest.json", "", f"says linf_max {stated}, its shards say {largest}")


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, but the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


# --- one shard -----------------------------------------------------------------------------------------------------


def _audit_shard(shards: Shards, number: int, originals: Originals | None, seen: set[str], result: AuditResult) -> None:
    tar = shards.tars[number]
    if not tar.exists():
        return  # reported with the folder
    entry = shards.manifest["shards"][number]

    def fail(where: str, problem: str, key: str = "") -> None:
        result.failures.append(Failure(where, key, problem))

    rows = _audit_files(shards, number, fail)
    pictures: dict[str, NDArray[np.uint8]] = {}
    stated: dict[str, int | None] = {}
    values = count = 0
    try:
        for key, parts in _samples(tar, shards.fields, fail):
            if key in seen:
                fail(tar.name, "the key occurs twice", key)
            seen.add(key)
            result.checked += 1
            count += 1
            row = rows.pop(key, None)
            picture = _audit_sample(shards, parts, row, partial(fail, tar.name, key=key))
            if picture is not None and originals:
                pictures[key], stated[key] = picture, row["linf"] if row else None
                values += picture.size
            if originals and values > _TOGETHER:
                _compare(shards, tar.name, originals, pictures, stated, result)
                pictures, values = {}, 0
    except ShardError as error:
        fail(tar.name, str(error))
    for key in rows:
        fail(tar.name, "is only in the parquet file", key)
    if originals and pictures:
        _compare(shards, tar.name, originals, pictures, stated, result)
    if count != entry["samples"]:
        fail(tar.name, f"holds {count} samples, the manifest says {entry['samples']}")


def _audit_files(shards: Shards, number: int, fail: _Fail) -> dict[str, dict[str, Any]]:
    """Check sizes and hashes of a shard's files against the manifest; returns the rows of the parquet file by key."""
    tar, entry = shards.tars[number], shards.manifest["shards"][number]
    parquet = tar.with_suffix(".parquet")
    for path, size, sha256 in (
        (tar, entry["bytes"], entry["sha256"]),
        (parquet, entry["parquet_bytes"], entry["parquet_sha256"]),
    ):
        if not path.exists():
            continue
        if path.stat().st_size != size:
            fail(path.name, f"has {path.stat().st_size} bytes, the manifest says {size}")
        if _sha256(path) != sha256:
            fail(path.name, "has another SHA-256 than the manifest says")
    stats = tar.with_name(f"{tar.stem}_stats.json")
    if stats.exists():
        try:
            stated = json.loads(stats.read_bytes())
            wrong = [name for name, value in entry.items() if name != "name" and stated.get(name) != value]
            extra = set(stated) - set(entry) - {"shard", "rejected"}
            for name in [*wrong, *sorted(extra)]:
                fail(stats.name, f"{name} is not what the manifest says")
        except ValueError:
            fail(stats.name, "is not valid JSON")
    try:
        table = pq.read_table(parquet) if parquet.exists() else COLUMNS.empty_table()
    except (pa.ArrowException, OSError) as error:
        fail(parquet.name, f"is damaged ({error})")
        return {}
    if table.schema.names != COLUMNS.names:
        fail(parquet.name, f"has columns {table.schema.names}, expected {COLUMNS.names}")
        return {}
    rows = {row["key"]: row for row in table.to_pylist()}
    largest = max((row["linf"] for row in rows.values()), default=0)
    if largest != entry["linf_max"]:
        fail(parquet.name, f"its largest linf is {largest}, the manifest says {entry['linf_max']}")
    return rows


def _samples(tar: Path, fields: Fields, fail: _Fail) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The complete samples of a tar; everything wrong with an entry is reported."""
    key, parts = "", dict[str, bytes]()
    for header, data in read_tar(tar):
        stem, _, extension = header.name.partition(".")
        if not _KEY.fullmatch(stem) or not stem.startswith(tar.stem) or extension not in (*fields.own, *fields.carried):
            fail(tar.name, f"entry {header.name!r} does not belong here")
            continue
        unusual = [name for name, value in _HEADER.items() if getattr(header, name) != value]
        if unusual or header.type != tarfile.REGTYPE or header.pax_headers:
            what = ", ".join(unusual) or "its type"
            fail(tar.name, f"the header of .{extension} holds more than it should: {what}", stem)
        if stem != key:
            if key:
                yield from _complete(tar, key, parts, fields, fail)
            key, parts = stem, {}
        if extension in parts:
            fail(tar.name, f"has .{extension} twice", stem)
        parts[extension] = data
    if key:
        yield from _complete(tar, key, parts, fields, fail)


def _complete(
    tar: Path, key: str, parts: dict[str, bytes], fields: Fields, fail: _Fail
) -> Iterator[tuple[str, dict[str, bytes]]]:
    missing = sorted(set(fields.own) - set(parts))
    if missing:
        fail(tar.name, f"lacks {', '.join(missing)}", key)
    else:
        yield key, parts


def _audit_sample(
    shards: Shards, parts: dict[str, bytes], row: dict[str, Any] | None, fail: _Fail
) -> NDArray[np.uint8] | None:
    """Check one sample against its parquet row and the manifest; its pixels, or None where they cannot be decoded."""
    fields = shards.fields
    try:
        picture = decode_picture(parts[fields.image], fields.format, fields.keep)
    except ShardError as error:
        fail(str(error))
        return None
    try:
        label, about = int(parts["cls"]), json.loads(parts[fields.about])
    except ValueError:
        fail(f".cls or .{fields.about} cannot be read")
        return None
    if not isinstance(about, dict) or set(about) != _ABOUT:
        fail(f".json has other fields than {', '.join(sorted(_ABOUT))}")
        return picture
    if not 0 <= label < len(shards.classes) or about["class"] != shards.classes[label]:
        fail(f"label {label} and class {about['class']!r} are not those of the manifest")
    if (about["height"], about["width"]) != picture.shape[:2] or shards.size not in (None, picture.shape[:2]):
        fail(f"is {picture.shape[1]} × {picture.shape[0]} pixels, not what .json or the manifest says")
    if about["sha256"] != hashlib.sha256(picture.tobytes()).hexdigest():
        fail("the pixels have another SHA-256 than .json says")
    if shards.lossless and about["linf"] > shards.budget:
        fail(f"its noise of {about['linf']}/255 is above the budget of {shards.budget}/255")
    if row is None:
        fail("is not in the parquet file")
    elif {name: row[name] for name in row if name not in ("key", "label")} != about or row["label"] != label:
        fail("the parquet row differs from .cls and .json")
    return picture


def _compare(
    shards: Shards,
    tar: str,
    originals: Originals,
    pictures: dict[str, NDArray[np.uint8]],
    stated: dict[str, int | None],
    result: AuditResult,
) -> None:
    """Check protected pixels against the clean ones: invariant 1."""
    clean, keys, missing = originals.pictures(list(pictures))
    result.failures += [Failure(tar, key, reason) for key, reason in missing.items()]
    for key, original in zip(keys, clean, strict=True):
        if pictures[key].shape != original.shape:
            result.failures.append(Failure(tar, key, "has another size than its original"))
            continue
        linf = int(cv2.norm(pictures[key], original, cv2.NORM_INF))
        result.compared += 1
        result.linf_max = max(result.linf_max or 0, linf)
        if shards.lossless and linf > shards.budget:
            result.failures.append(Failure(tar, key, f"differs by {linf}/255, the budget is {shards.budget}/255"))
        elif stated[key] not in (None, linf):
            result.failures.append(Failure(tar, key, f"differs by {linf}/255, .json says {stated[key]}/255"))
        if linf == 0:
            result.failures.append(Failure(tar, key, "is the clean original: it carries no noise"))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- the ledger ----------------------------------------------------------------------------------------------------


def _accounts(shards: Shards, seen: set[str]) -> Iterator[Failure]:
    """Check that every input is protected or rejected, once, and that the ledger is private: invariants 4 and 5."""
    ledger = Ledger(ledger_path(shards.directory))
    if ledger.path.stat().st_mode & 0o077:
        yield Failure("ledger", "", f"{ledger.path} can be opened by others; chmod 700 it")
    counted = shards.manifest["counts"]["inputs"]
    fates = np.zeros(counted, np.int64)  # how often each input is accounted for
    inputs, keys = 0, set[str]()
    try:
        for row in ledger.inputs():
            fates[row.number] += bool(row.reason) if row.number < counted else 0
            inputs += 1
        for number in range(len(shards.tars)):
            for fate in ledger.shard(number):
                fates[fate.number] += 1 if fate.number < counted else 0
                keys |= {fate.key} if fate.key else set()
    except (LedgerError, IndexError) as error:
        yield Failure("ledger", "", str(error))
        return
    if (fates != 1).any():
        once, more = int((fates == 1).sum()), int((fates > 1).sum())
        yield Failure("ledger", "", f"{counted} inputs, but {once} are accounted for once, {more} more than once")
    for key in sorted(keys ^ seen):
        where = "only in the ledger" if key in keys else "only in the shards"
        yield Failure("ledger", key, f"is {where}")
    if inputs != counted:
        yield Failure("manifest.json", "", f"counts {counted} inputs, the ledger {inputs}")
