"""A shard without some of its samples: what remains keeps its bytes, its keys and its order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic import atomic_write
from ..errors import ShardError
from . import tar
from .fields import Fields
from .names import FEWEST, shard_name
from .reader import read_tar
from .writer import ShardStats, mark_done, stats_of, table_of


def thinned(directory: Path, shard: int, psnr: Mapping[str, float], rejected: int, digits: int = FEWEST) -> ShardStats:
    """The stats that a shard has with those samples alone whose keys are in `psnr` (dB); nothing is written. `rejected`
    inputs were unusable when it was made. Raises `ShardError` where a file of the shard is broken.
    """
    sha256, size, stem = hashlib.sha256(), 0, directory / shard_name(shard, digits)
    for block in _entries(stem, psnr.keys()):
        sha256.update(block)
        size += len(block)
    sha256.update(tar.end(size))
    rows = _rows(stem, psnr.keys())
    psnrs = [psnr[row["key"]] for row in rows]
    whole = size + len(tar.end(size))
    return stats_of(shard, rejected, whole, sha256.hexdigest(), table_of(rows), rows, psnrs)


def publish_thinned(directory: Path, keys: Collection[str], stats: ShardStats, digits: int = FEWEST) -> None:
    """Replace a shard by the one with those samples alone, which has to have these `stats`. What was replaced before is
    replaced by the same. Raises `ShardError`, and leaves the file as it is, where the result is another one.
    """
    stem = directory / shard_name(stats.shard, digits)
    table = table_of(_rows(stem, keys))
    if hashlib.sha256(table).hexdigest() != stats.parquet_sha256:
        raise ShardError(f"{stem}.parquet is damaged")
    sha256, size = hashlib.sha256(), 0
    with atomic_write(Path(f"{stem}.tar")) as file:
        for block in _entries(stem, keys):
            file.write(block)
            sha256.update(block)
            size += len(block)
        file.write(tar.end(size))
        sha256.update(tar.end(size))
        if sha256.hexdigest() != stats.sha256:
            raise ShardError(f"{stem}.tar is damaged")
    with atomic_write(Path(f"{stem}.parquet")) as file:
        file.write(table)
    mark_done(directory, stats, digits)


def _entries(stem: Path, keys: Collection[str]) -> Iterator[bytes]:
    """Headers with their padded data, as they are in the tar, of the files of those samples."""
    path = Path(f"{stem}.tar")
    try:
        with open(path, "rb") as file:
            while any(header := file.read(tar.BLOCK)):
                name, size = header[:100].rstrip(b"\0").decode("ascii"), int(header[124:136].rstrip(b"\0 "), 8)
                padded = size + -size % tar.BLOCK
                if name.partition(".")[0] not in keys:
                    file.seek(padded, 1)
                    continue
                data = file.read(padded)
                if len(data) < padded:
                    raise ShardError(f"{path} is cut short")
                yield header + data
    except FileNotFoundError:
        raise ShardError(f"{path} is missing") from None
    except ValueError as error:
        raise ShardError(f"{path} is a broken tar ({error})") from None


def _rows(stem: Path, keys: Collection[str]) -> list[dict[str, Any]]:
    path = Path(f"{stem}.parquet")
    try:
        return [row for row in pq.read_table(path).to_pylist() if row["key"] in keys]
    except FileNotFoundError:
        raise ShardError(f"{path} is missing") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ShardError(f"{path} is damaged ({error})") from None


def table_of_tar(path: Path, fields: Fields) -> bytes:
    """The parquet file of a shard, by what its tar says of the samples. Raises `ShardError`."""
    samples: dict[str, dict[str, bytes]] = {}
    for header, data in read_tar(path):
        key, _, extension = header.name.partition(".")
        samples.setdefault(key, {})[extension] = data if extension in ("cls", fields.about) else b""
    try:
        rows = [
            {"key": key, "label": int(parts["cls"])} | json.loads(parts[fields.about]) for key, parts in samples.items()
        ]
        return table_of(rows)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise ShardError(f"{path} is damaged ({error})") from None
