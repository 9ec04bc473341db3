"""Shards in the format MDS, version 2, of MosaicML Streaming.

https://docs.mosaicml.com/projects/streaming/en/stable/preparing_datasets/dataset_format.html

A file has the number N of its samples, N + 1 offsets of their beginnings and of the end (all uint32, little endian),
its description as JSON, and the samples. A sample has the sizes of those of its columns whose size varies, then the
columns. `index.json` describes all files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, write_json
from ..shards import Shards
from .stored import StoredImage, StoredShard

_LIMIT = 1 << 26  # bytes of a file, MosaicML's own default; an image that is larger has a file of its own
_ENCODINGS = {"png": "png", "jpg": "jpeg", "webp": "bytes"}  # what their reader makes of the image: PIL's, or bytes
_FIXED = 4 + 4 + 8  # bytes of a sample besides image and key: two sizes and the label


class MosaicShards:
    """NNNNN-PP.mds, part PP of NNNNN.tar, with the columns image, key and label; index.json; classes.json."""

    def __init__(self, shards: Shards, folder: Path) -> None:
        self._folder, self._classes = folder, shards.classes
        self._about = {
            "version": 2,
            "format": "mds",
            "compression": None,
            "hashes": ["sha256"],
            "size_limit": _LIMIT,
            "column_names": ["image", "key", "label"],
            "column_encodings": [_ENCODINGS[shards.fields.image], "str", "int"],
            "column_sizes": [None, None, 8],
        }
        self._header = json.dumps(self._about, sort_keys=True).encode()

    def write(self, shard: StoredShard, images: Iterator[StoredImage]) -> dict[str, Any]:
        """The images of a shard; the offsets come first, so sizes are taken from the tar's headers."""
        sizes = [_FIXED + parts[shard.extension][1] + len(key) for key, parts in shard.index]
        rows = []
        for number, part in enumerate(_parts(sizes, 8 + len(self._header))):
            name = f"{shard.path.stem}-{number:02d}.mds"
            rows.append(self._write_file(name, part, itertools.islice(images, len(part))))
        return {"files": len(rows), "bytes": sum(row["raw_data"]["bytes"] for row in rows), "rows": rows}

    def _write_file(self, name: str, sizes: list[int], images: Iterator[StoredImage]) -> dict[str, Any]:
        """A file of samples with these sizes, and its row of the index."""
        first = 4 + 4 * (len(sizes) + 1) + len(self._header)
        offsets = list(itertools.accumulate(sizes, initial=first))
        digest = hashlib.sha256()
        with atomic_write(self._folder / name) as file:
            head = struct.pack(f"<{len(sizes) + 2}I", len(sizes), *offsets) + self._header
            for block in itertools.chain([head], map(_sample, images)):
                file.write(block)
                digest.update(block)
        raw = {"basename": name, "bytes": offsets[-1], "hashes": {"sha256": digest.hexdigest()}}
        return {**self._about, "samples": len(sizes), "raw_data": raw, "zip_data": None}

    def finish(self, parts: list[dict[str, Any]]) -> None:
        """The index, and the names of the classes, for which MDS has no place."""
        rows = [{"label": label, "class": name} for label, name in enumerate(self._classes)]
        write_json(self._folder / "classes.json", rows)
        write_json(
            self._folder / "index.json", {"version": 2, "shards": [row for part in parts for row in part["rows"]]}
        )


def _sample(each: StoredImage) -> bytes:
    key = each.key.encode()
    return struct.pack("<2I", len(each.image), len(key)) + each.image + key + struct.pack("<q", each.label)


def _parts(sizes: list[int], fixed: int) -> Iterator[list[int]]:
    """The sizes of samples, divided into files; besides samples and an offset each a file has `fixed` bytes."""
    part: list[int] = []
    size = fixed
    for each in sizes:
        if part and size + each + 4 > _LIMIT:
            yield part
            part, size = [], fixed
        part.append(each)
        size += each + 4
    if part:
        yield part
