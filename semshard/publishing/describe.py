"""The files that describe a published folder, README.md and croissant.json, made of its manifest and what owners add.

They are functions of manifest.json, card.json and verification.json, so that the audit makes them again and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from ..atomic import atomic_write, json_bytes, remove_leftovers
from ..digests import sha256_of
from ..errors import OutputError, SettingError, ShardError
from ..shards import manifest_sha256, read_manifest
from ..shards.manifest import FILE as MANIFEST
from . import croissant as metadata
from . import readme as card
from . import statement as owner
from . import verdict as verification
from .statement import Statement, read_statement

MADE = (card.FILE, metadata.FILE)  # by semshard, from the others
GIVEN = (owner.FILE, verification.FILE)  # what the owner adds; there need not be any
FILES = (*MADE, *GIVEN)


def is_description(path: Path) -> bool:
    """Whether semshard wrote this file to describe a folder: a README.md may be somebody's own."""
    marks = {card.FILE: card.MARK.encode()} | dict.fromkeys((metadata.FILE, *GIVEN), b'"semshard')
    return path.name in marks and path.is_file() and marks[path.name] in path.read_bytes()


def description(directory: Path) -> dict[str, bytes]:
    """README.md and croissant.json as they must be in a folder. Raises `ShardError` where what they are made from is
    damaged.
    """
    digest = manifest_sha256(directory)
    verified = verification.read_verdict(directory, digest)
    return _made(read_manifest(directory), digest, read_statement(directory), verified)


def refuse_other_description(directory: Path) -> None:
    """Raise `OutputError` where a name of these files is taken by a file of somebody else."""
    for name in FILES:
        if (directory / name).exists() and not is_description(directory / name):
            raise OutputError(
                f"{directory / name} was not written by semshard; move it away and run the same command again"
            )


def write_description(directory: Path, given: Mapping[str, str | None], verified: dict[str, Any] | None = None) -> None:
    """Write README.md and croissant.json, and card.json and verification.json where there is something in them.

    `given` are texts of the statement, which keeps those that are not given; without `verified`, an earlier verdict is
    kept where it is of this manifest. Raises `OutputError` where one of the names is taken by a file of somebody else.
    """
    refuse_other_description(directory)
    for name in FILES:
        remove_leftovers(directory, name)
    digest = manifest_sha256(directory)
    statement = read_statement(directory).updated(given)
    verified = verified or _earlier(directory, digest)
    _write(directory / owner.FILE, json_bytes(statement.to_json()) if statement != Statement() else None)
    _write(directory / verification.FILE, json_bytes(verified) if verified else None)
    for name, data in _made(read_manifest(directory), digest, statement, verified).items():
        _write(directory / name, data)


def needs_description(directory: Path, given: Mapping[str, str | None]) -> bool:
    """Whether something is missing, was made of other files, or does not say what is `given`.

    README.md is written last and ends with the digests of what it was made from. One that was edited by hand has that
    end still, and is left alone.
    """
    if any(not (directory / name).exists() for name in MADE):
        return True
    made_from = {name: sha256_of(directory / name) for name in (MANIFEST, *GIVEN) if (directory / name).exists()}
    if card.ending(made_from).encode() not in (directory / card.FILE).read_bytes():
        return True
    statement = read_statement(directory)
    return statement.updated(given) != statement


def _made(
    manifest: Mapping[str, Any], digest: str, statement: Statement, verified: Mapping[str, Any] | None
) -> dict[str, bytes]:
    """The made files, in the order in which they are written."""
    try:
        return {
            metadata.FILE: json_bytes(metadata.croissant(manifest, digest, statement, verified)),
            card.FILE: card.readme(manifest, digest, statement, verified).encode(),
        }
    except (KeyError, TypeError, AttributeError, ValueError, TemplateError, SettingError) as error:
        raise ShardError(f"{MANIFEST} or {verification.FILE} is not what semshard writes ({error!r})") from error


def _earlier(directory: Path, digest: str) -> dict[str, Any] | None:
    try:
        return verification.read_verdict(directory, digest)
    except ShardError:
        return None  # of another manifest, or damaged: the verdict does not hold


def _write(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != data:
        with atomic_write(path) as file:
            file.write(data)
