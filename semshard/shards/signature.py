"""The story of sign: digests of the files → statement → envelope → manifest.dsse.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..atomic import write_json
from ..digests import sha256_of
from ..errors import ShardError
from ..progress import Event, Progress, silent
from ..signing import (
    FILE,
    PAYLOAD_TYPE,
    Envelope,
    Origin,
    Signer,
    load_signer,
    payload_of,
    read_envelope,
    source_digest,
    statement,
)
from ..storage import local_path
from .ledger import Ledger, ledger_path
from .manifest import FILE as MANIFEST
from .manifest import manifest_sha256
from .reader import Shards, files_of, open_shards
from .shard_lists import ShardRecords


@dataclass(frozen=True)
class SignResult:
    """A signature that was written."""

    signature: str  # its file
    files: int  # that it vouches for
    keyid: str  # of the key
    source: str | None  # the digest of the source's files; None without a ledger


def sign(shards: str | Path, key: str | Path, passphrase: str, *, progress: Progress = silent) -> SignResult:
    """Sign the folder `shards` with the private `key`, a file that `keygen` wrote, which the `passphrase` opens.

    Writes manifest.dsse.json, in place of an earlier one. Raises `SettingError` for the key, `ShardError` where the
    files are not those of the manifest, `OutputError` while protect is writing there.
    """
    directory = local_path(shards, "shards")
    signer = load_signer(key, passphrase)
    opened = open_shards(directory)
    ledger = Ledger(ledger_path(opened.directory))
    with ledger.locked() if ledger.path.exists() else nullcontext():
        return sign_folder(opened.directory, signer, progress)


def sign_folder(directory: Path, signer: Signer, progress: Progress = silent) -> SignResult:
    """`sign` by a key that is open, where no other process writes."""
    shards = open_shards(directory)
    files = dict(_hashed(shards, progress))
    origin = _origin(directory)
    content = signer.sign(payload_of(statement(shards.manifest, files, origin)), PAYLOAD_TYPE)
    write_json(directory / FILE, content)
    return SignResult(str(directory / FILE), len(files), signer.verifier.keyid, origin.source)


def refresh_signature(directory: Path, signer: Signer | None, progress: Progress = silent) -> bool:
    """Sign a finished folder, if there is a `signer` and his signature is not there yet; a signature of an earlier
    manifest is removed. Returns whether the folder is signed now.
    """
    path = directory / FILE
    envelope = _current(directory)
    if signer and not (envelope and signer.verifier.verifies(envelope.content)):
        sign_folder(directory, signer, progress)
    elif envelope is None and path.exists():
        path.unlink()
        progress(Event("finish", message=f"{path} was made for an earlier manifest: removed. Sign the folder anew"))
    return path.exists()


def _current(directory: Path) -> Envelope | None:
    """The envelope of a folder, if it is of the manifest that is there now."""
    digest = manifest_sha256(directory)
    with suppress(ShardError, ValueError, LookupError, TypeError):
        envelope = read_envelope(directory)
        if envelope and json.loads(envelope.payload)["subject"][0]["digest"]["sha256"] == digest:
            return envelope
    return None


def known_source(ledger: Ledger) -> str:
    """The digest of the source that a ledger knows. Raises `LedgerError`."""
    digests = ledger.scanned("sha256")["sha256"].reshape(-1, 32)
    return source_digest(digest.tobytes() for digest in digests[digests.any(1)])


def data_files(shards: Shards) -> Iterator[Path]:
    """The files that are signed: the manifest, and three of each shard; of many shards the files that list them, which
    have the SHA-256 of all others but the stats.
    """
    yield shards.directory / MANIFEST
    if isinstance(shards.records, ShardRecords):
        yield from (shards.directory / file["name"] for file in shards.records.files)
        return
    for tar in shards.tars:
        yield from files_of(tar)


def stated_digests(shards: Shards) -> dict[str, str]:
    """The files whose SHA-256 the manifest has, by name."""
    found = dict[str, str]()
    if isinstance(shards.records, ShardRecords):
        return {file["name"]: file["sha256"] for file in shards.records.files}
    for shard in shards.records:
        found[shard["name"]] = shard["sha256"]
        found[shard["name"].replace(".tar", ".parquet")] = shard["parquet_sha256"]
    return found


def _origin(directory: Path) -> Origin:
    """What the ledger of a folder knows of its making."""
    ledger = Ledger(ledger_path(directory))
    inputs = ledger.index.written  # when a run begins
    if not inputs.exists():
        return Origin()
    started, finished = _modified(inputs), _modified(directory / MANIFEST)
    return Origin(known_source(ledger), started if started <= finished else None, finished)


def _modified(path: Path) -> str:
    """When a file was written, RFC 3339."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hashed(shards: Shards, progress: Progress) -> Iterator[tuple[str, str]]:
    """The name and the SHA-256, in hex, of every file of the subject. Raises `ShardError` where one is missing, or is
    not the one that the manifest names.
    """
    stated, paths = stated_digests(shards), list(data_files(shards))
    for number, path in enumerate(paths, 1):
        try:
            digest = sha256_of(path)
        except FileNotFoundError:
            raise ShardError(f"{path} is missing") from None
        if stated.get(path.name, digest) != digest:
            raise ShardError(f"{path} is not the file that the manifest names; audit says more")
        progress(Event("sign", number, len(paths), "files"))
        yield path.name, digest
