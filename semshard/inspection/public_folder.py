"""The public folder as a whole: the files that belong there, and nothing private."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..publishing import FILES as DESCRIPTION
from ..shards import Shards, files_of
from ..signing import FILE as SIGNATURE
from .failure import Failure

_PUBLIC = re.compile(r"[0-9]{5}(\.tar|\.parquet|_stats\.json)|manifest(\.dsse)?\.json")
_OPTIONAL = {*DESCRIPTION, SIGNATURE}
WHOLE_FOLDER = ("manifest.json", *sorted(_OPTIONAL))  # files that do not belong to a shard
_PATH = re.compile(r"(^|[\s\"'=])(/[^/\s]+/|[A-Za-z]:\\)")


def expected_files(shards: Shards) -> set[str]:
    """The names of all files that a public folder holds."""
    return {"manifest.json"} | {path.name for tar in shards.tars for path in files_of(tar)}


def public_folder(shards: Shards) -> Iterator[Failure]:
    """Files that are missing or too many, or are none, and paths in the manifest."""
    expected = expected_files(shards)
    present = shards.files.listed()
    for name in sorted(present.keys() - expected - _OPTIONAL):
        known = _PUBLIC.fullmatch(name)
        yield Failure(name, "", f"does not belong in {'these shards' if known else 'a public folder'}")
    for name in sorted(expected - present.keys()):
        yield Failure(name, "", "is missing")
    for name in sorted((expected | _OPTIONAL) & present.keys()):
        if not present[name]:
            yield Failure(name, "", "is not a plain file")
    for text in _strings(shards.manifest):
        if _PATH.search(text):
            yield Failure("manifest.json", "", f"holds a path: {text!r}")


def is_plain(path: Path) -> bool:
    """Whether it is a file: no folder, no link to somewhere else, no pipe that would be waited for."""
    return path.is_file() and not path.is_symlink()


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, but the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
