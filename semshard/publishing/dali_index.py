"""An index of each tar for NVIDIA DALI's `fn.readers.webdataset`, which then finds samples without reading the tar.

The format is that of DALI's own tool `wds2idx`, version 1.2: a line `v1.2 N` with the number of samples, then a line
for each sample with four words for each of its files: extension, offset of the data in the tar, bytes, name.
https://github.com/NVIDIA/DALI/blob/main/tools/wds2idx.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..atomic import atomic_write
from ..shards import Shards
from .stored import StoredImage, StoredShard


class DaliIndex:
    """NNNNN.idx for NNNNN.tar."""

    def __init__(self, shards: Shards, folder: Path) -> None:
        self._folder = folder

    def write(self, shard: StoredShard, images: Iterator[StoredImage]) -> dict[str, Any]:
        """The index of a shard; no image is read."""
        lines = [f"v1.2 {len(shard.index)}"]
        for key, parts in shard.index:
            files = (
                f"{extension} {offset} {size} {key}.{extension}"
                for extension, (offset, size) in parts.items()
                if not any(letter.isspace() for letter in extension)  # the format has no way to write such a name
            )
            lines.append(" ".join(files))
        text = ("\n".join(lines) + "\n").encode()
        with atomic_write(self._folder / f"{shard.path.stem}.idx") as file:
            file.write(text)
        return {"files": 1, "bytes": len(text)}

    def finish(self, parts: list[dict[str, Any]]) -> None:
        """There is nothing about all tars."""
