"""What an audit finds about the signature of a public folder: who signed it, and whether it is the statement of now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..digests import sha256_if_there
from ..errors import LedgerError, ShardError
from ..shards import Ledger, Shards
from ..shards.signature import data_files, known_source, stated_digests
from ..signing import FILE, Envelope, Verifier, read_envelope, statement_problems
from .failure import Failure

# Of a folder: not signed; signed, but no key was given to check it; signed with the key that was given; or not.
NONE, NOT_CHECKED, VALID, INVALID = "none", "not checked", "valid", "invalid"


def audit_signature(shards: Shards, verifier: Verifier | None) -> tuple[str, list[Failure]]:
    """Whether the folder is signed, and by whom: one of the four words above; and what is wrong with the signature."""
    try:
        envelope = read_envelope(shards.directory)
    except ShardError as error:
        return INVALID, [Failure(FILE, "", shards.message_of(error))]
    verified = bool(envelope and verifier and verifier.verifies(envelope.content))
    known, unknown = VALID if verified else INVALID, NOT_CHECKED if envelope else NONE
    return known if verifier else unknown, list(_failures(shards, envelope, verifier, verified))


def _failures(
    shards: Shards, envelope: Envelope | None, verifier: Verifier | None, verified: bool
) -> Iterator[Failure]:
    """It is missing where a key was given, made with another one, or for other files.

    Tars and parquet files are compared with the manifest elsewhere, so here it is enough that the signature is of the
    digests in it.
    """
    if envelope is None:
        if verifier:
            yield Failure(FILE, "", "is missing: the folder is not signed")
        return
    if verifier and not verified:
        reason = "is not signed with the key that was given"
        if envelope.keyid == verifier.keyid:
            reason = "was changed after it was signed: its signature is wrong"
        yield Failure(FILE, "", reason)
    for problem in statement_problems(envelope.payload, shards.manifest, _files(shards), _known_source(shards)):
        yield Failure(FILE, "", problem)


def _known_source(shards: Shards) -> str | None:
    """The digest of the source; None without a ledger, or where it is damaged, which audit reports elsewhere."""
    try:
        return known_source(Ledger(shards.ledger))
    except LedgerError:
        return None


def _files(shards: Shards) -> dict[str, str]:
    """SHA-256, in hex, of the published data files: of tars and parquet files as the manifest says."""
    stated = stated_digests(shards)
    digests = {path.name: stated.get(path.name) or _sha256(shards, path) for path in data_files(shards)}
    return {name: sha256 for name, sha256 in digests.items() if sha256}


def _sha256(shards: Shards, path: Path) -> str:
    with shards.at_hand(path):
        return sha256_if_there(path)
