"""One shard: its files against the manifest, its tar entry by entry, and its samples one after the other."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ShardError
from ..shards import Fields, Shards, read_tar
from ..shards.writer import COLUMNS
from .against_originals import Comparison
from .failure import Fail, Failure
from .public_folder import sha256_of
from .sample import audit_sample

_KEY = re.compile(r"[0-9]{10}")
_HEADER = {"uid": 0, "gid": 0, "uname": "", "gname": "", "mtime": 0, "mode": 0o644, "linkname": ""}


def audit_shard(
    shards: Shards, number: int, comparison: Comparison | None, seen: set[str], failures: list[Failure]
) -> int:
    """How many samples a shard has; its keys are added to those `seen`, what is broken to `failures`."""
    tar = shards.tars[number]
    if not tar.exists():
        return 0  # reported with the folder

    def fail(where: str, problem: str, key: str = "") -> None:
        failures.append(Failure(where, key, problem))

    rows = _audit_files(shards, number, fail)
    count = 0
    try:
        for key, parts in _samples(tar, shards.fields, fail):
            if key in seen:
                fail(tar.name, "the key occurs twice", key)
            seen.add(key)
            count += 1
            row = rows.pop(key, None)
            picture = audit_sample(shards, parts, row, partial(fail, tar.name, key=key))
            if picture is not None and comparison:
                comparison.add(tar.name, key, picture, row["linf"] if row else None)
    except ShardError as error:
        fail(tar.name, str(error))
    for key in rows:
        fail(tar.name, "is only in the parquet file", key)
    if comparison:
        comparison.finish(tar.name)
    stated = shards.manifest["shards"][number]["samples"]
    if count != stated:
        fail(tar.name, f"holds {count} samples, the manifest says {stated}")
    return count


def _audit_files(shards: Shards, number: int, fail: Fail) -> dict[str, dict[str, Any]]:
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
        if sha256_of(path) != sha256:
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


def _samples(tar: Path, fields: Fields, fail: Fail) -> Iterator[tuple[str, dict[str, bytes]]]:
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
    tar: Path, key: str, parts: dict[str, bytes], fields: Fields, fail: Fail
) -> Iterator[tuple[str, dict[str, bytes]]]:
    missing = sorted(set(fields.own) - set(parts))
    if missing:
        fail(tar.name, f"lacks {', '.join(missing)}", key)
    else:
        yield key, parts
