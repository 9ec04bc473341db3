"""What an audit finds about the signature of a public folder: who signed it, and whether it is the statement of now."""

from __future__ import annotations

from collections.abc import Iterator

from ..digests import sha256_of
from ..errors import LedgerError, ShardError
from ..shards import Ledger, Shards
from ..shards.signature import data_files, known_source, stated_digests
from ..signing import FILE, Verifier, read_envelope, statement_problems
from .failure import Failure

# Of a folder: not signed; signed, but no key was given to check it; signed with the key that was given; or not.
NONE, NOT_CHECKED, VALID, INVALID = "none", "not checked", "valid", "invalid"


def signature_state(shards: Shards, verifier: Verifier | None) -> str:
    """Whether the folder is signed, and by whom: one of the four words above."""
    try:
        envelope = read_envelope(shards.directory)
    except ShardError:
        return INVALID
    if verifier is None:
        return NOT_CHECKED if envelope else NONE
    return VALID if envelope and verifier.verifies(envelope.content) else INVALID


def signature_failures(shards: Shards, verifier: Verifier | None) -> Iterator[Failure]:
    """What is wrong with the signature: it is missing where a key was given, made with another one, or for other files.

    Tars and parquet files are compared with the manifest elsewhere, so here it is enough that the signature is of the
    digests in it.
    """
    try:
        envelope = read_envelope(shards.directory)
    except ShardError as error:
        yield Failure(FILE, "", str(error))
        return
    if envelope is None:
        if verifier:
            yield Failure(FILE, "", "is missing: the folder is not signed")
        return
    if verifier and not verifier.verifies(envelope.content):
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
    return {
        path.name: stated.get(path.name) or sha256_of(path)
        for path in data_files(shards)
        if path.name in stated or path.is_file()
    }
