"""One shard: its files against the manifest, its tar entry by entry, and its samples one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..digests import sha256_of
from ..errors import ShardError
from ..shards import ShardRecords, Shards, damage, files_of, stats_bytes
from ..sources.image_metadata import Metadata
from ..workers import Report
from .against_originals import Comparison
from .failure import Fail
from .findings import ShardFindings
from .manifest import stats_of
from .originals import Originals
from .parquet import read_rows
from .public_folder import is_plain
from .rights import choice_of, rights_of
from .sample import read_sample
from .tar_entries import samples


@dataclass(frozen=True)
class AuditOrder:
    """What is the same for all shards of an audit."""

    shards: Shards
    samples: int  # in all shards that are audited
    by_ledger: bool  # whether the originals are found by the ledger: then metadata is compared with theirs, too
    proofs: bool = False  # whether the record of each shard is to lead to the root of all, where there is one


@dataclass(frozen=True)
class AuditWork:
    """A shard that is to be audited."""

    shard: int
    first: int  # the number of its first sample among those that are audited
    originals: Originals | None

    def __str__(self) -> str:
        return f"shard {self.shard}"


def audit_shards(order: AuditOrder, works: Iterable[AuditWork], report: Report) -> Iterator[ShardFindings]:
    """What is found in shards, one after the other."""
    for work in works:
        found = ShardFindings(work.shard)
        try:
            records = order.shards.records
            record = records[work.shard]
            if order.proofs and isinstance(records, ShardRecords) and not records.proves(work.shard):
                found.fail("manifest.json", f"its root is not that of the record of {record['name']}")
        except ShardError:
            pass  # reported with the files that list the shards
        else:
            with order.shards.at_hand(*files_of(order.shards.tar(work.shard))):
                _Shard(order, work, record, found).audit()
        yield found


@dataclass(frozen=True)
class _Shard:
    """A shard that is being audited."""

    order: AuditOrder
    work: AuditWork
    record: dict[str, Any]  # in the manifest
    found: ShardFindings

    def audit(self) -> None:
        """Everything about the shard by itself, and beside its originals."""
        shards, record, found = self.order.shards, self.record, self.found
        tar, parquet, stats = files_of(shards.tar(self.work.shard))
        _check_bytes(tar, record["bytes"], record["sha256"], found.fail)
        _check_bytes(parquet, record["parquet_bytes"], record["parquet_sha256"], found.fail)
        found.rejected = _check_stats(stats, record, self.work.shard, found.fail)
        rows = read_rows(parquet, record, found.fail) if is_plain(parquet) else {}
        if not is_plain(tar):
            return  # reported with the folder
        comparison = self._comparison(tar)
        choice, fields = choice_of(shards), shards.fields
        try:
            for key, parts in samples(tar, fields, found.fail):
                found.samples += 1
                row, fail = rows.pop(key, None), partial(found.fail, tar.name, key=key)
                sample = read_sample(shards, parts, row, fail)
                found.add(key, sample.label, sample.sha256)
                metadata = rights_of(parts[fields.image], shards, choice, fail) if choice.anything else None
                if comparison:
                    comparison.add(key, sample, row.linf if row else None, self._compared(metadata))
        except ShardError as error:
            found.fail(tar.name, shards.message_of(error))
        for key in rows:
            found.fail(tar.name, "is only in the parquet file", key)
        if found.samples != record["samples"]:
            found.fail(tar.name, f"holds {found.samples} samples, the manifest says {record['samples']}")
        if comparison:
            comparison.finish(record["samples"], record["psnr_mean"])

    def _comparison(self, tar: Path) -> Comparison | None:
        order, work = self.order, self.work
        if work.originals is None:
            return None
        return Comparison(order.shards, work.originals, self.found, tar.name, work.first, order.samples)

    def _compared(self, metadata: Metadata | None) -> Metadata | None:
        """Originals that were found by their pixels are left out: pictures that look the same may say other things."""
        return metadata if self.order.by_ledger else None


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
