"""One shard: its files against the manifest, its tar entry by entry, and its samples one after the other."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ..digests import sha256_of
from ..errors import ShardError
from ..shards import Shards, damage, files_of, stats_bytes
from .against_originals import Comparison
from .failure import Fail, Failure
from .inventory import Inventory
from .manifest import stats_of
from .parquet import read_rows
from .public_folder import is_plain
from .sample import read_sample
from .tar_entries import samples


def audit_shard(
    shards: Shards, number: int, comparison: Comparison | None, inventory: Inventory, failures: list[Failure]
) -> int:
    """The number of samples in the shard; they are added to the inventory, and what is broken to `failures`."""

    def fail(where: str, problem: str, key: str = "") -> None:
        failures.append(Failure(where, key, problem))

    entry = shards.manifest["shards"][number]
    tar, parquet, stats = files_of(shards.tars[number])
    _check_bytes(tar, entry["bytes"], entry["sha256"], fail)
    _check_bytes(parquet, entry["parquet_bytes"], entry["parquet_sha256"], fail)
    inventory.rejected[number] = _check_stats(stats, entry, number, fail)
    rows = read_rows(parquet, entry, fail) if is_plain(parquet) else {}
    if not is_plain(tar):
        return 0  # reported with the folder
    count = 0
    try:
        for key, parts in samples(tar, shards.fields, fail):
            count += 1
            row = rows.pop(key, None)
            sample = read_sample(shards, parts, row, partial(fail, tar.name, key=key))
            inventory.add(key, sample.label, sample.sha256)
            if comparison:
                comparison.add(tar.name, key, sample, row["linf"] if row else None)
    except ShardError as error:
        fail(tar.name, str(error).replace(str(shards.directory), shards.url))
    for key in rows:
        fail(tar.name, "is only in the parquet file", key)
    if count != entry["samples"]:
        fail(tar.name, f"holds {count} samples, the manifest says {entry['samples']}")
    if comparison:
        comparison.finish_shard(tar.name, entry)
    return count


def _check_bytes(path: Path, size: int, sha256: str, fail: Fail) -> None:
    if not is_plain(path):
        return  # reported with the folder
    try:
        with damage(path.name):
            if path.stat().st_size != size:
                fail(path.name, f"has {path.stat().st_size} bytes, the manifest says {size}")
            if sha256_of(path) != sha256:
                fail(path.name, "has another SHA-256 than the manifest says")
    except ShardError as error:
        fail(path.name, str(error))


def _check_stats(path: Path, entry: dict[str, Any], number: int, fail: Fail) -> int:
    """The stats file says what the manifest says, and how many inputs were rejected while the shard was made: these
    are returned.
    """
    if not is_plain(path):
        return 0
    try:
        with damage(path.name):
            written = path.read_bytes()
            stated = json.loads(written)
            expected = stats_of(entry, number, stated["rejected"])
            if written == stats_bytes(expected) and _is_count(stated["rejected"]):
                return int(stated["rejected"])
            wrong = {name for name, value in vars(expected).items() if stated.get(name) != value}
            for name in sorted(wrong | (set(stated) - set(vars(expected)))):
                fail(path.name, f"{name} is not what the manifest says")
            if not wrong:
                fail(path.name, "is not written as semshard writes it")
    except ShardError as error:
        fail(path.name, str(error))
    return 0


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
