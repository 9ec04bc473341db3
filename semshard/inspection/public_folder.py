"""The public folder as a whole: the files that belong there, nothing private, and totals that agree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..shards import Shards
from .failure import Failure

_PUBLIC = re.compile(r"[0-9]{5}(\.tar|\.parquet|_stats\.json)|manifest\.json")
_PATH = re.compile(r"(^|[\s\"'=])(/[^/\s]+/|[A-Za-z]:\\)")


def public_folder(shards: Shards) -> Iterator[Failure]:
    """Files that are missing or too many, and paths in the manifest."""
    expected = {"manifest.json"}
    for tar in shards.tars:
        expected |= {tar.name, f"{tar.stem}.parquet", f"{tar.stem}_stats.json"}
    present = {path.name for path in shards.directory.iterdir()}
    for name in sorted(present - expected):
        known = _PUBLIC.fullmatch(name)
        yield Failure(name, "", f"does not belong in {'these shards' if known else 'a public folder'}")
    for name in sorted(expected - present):
        yield Failure(name, "", "is missing")
    for text in _strings(shards.manifest):
        if _PATH.search(text):
            yield Failure("manifest.json", "", f"holds a path: {text!r}")


def totals(shards: Shards, samples: int) -> Iterator[Failure]:
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


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
