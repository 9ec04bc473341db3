"""Samples of a finished shard as they are stored: the bytes of the image file, copied and never decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..digests import sha256_of
from ..errors import ShardError
from ..shards import Shards, TarIndex, tar_index

_KEY = re.compile(r"[\w-]+", re.ASCII)  # it becomes a file name
_LABEL = re.compile(rb"\d{1,9}")


@dataclass(frozen=True)
class StoredImage:
    """A sample, its image as the file in the tar."""

    key: str
    label: int  # index into the classes
    image: bytes  # PNG, JPEG or WebP


@dataclass(frozen=True)
class StoredShard:
    """A tar whose bytes are those of the manifest, and where its samples are. Holds no image."""

    number: int
    path: Path
    index: TarIndex
    extension: str  # of the images
    classes: int  # how many there are

    def images(self) -> Iterator[StoredImage]:
        """The samples in order, one at a time. Raises `ShardError` where one is not usable."""
        with open(self.path, "rb") as file:
            for key, parts in self.index:
                image, label = (_read(file, *parts[name]) for name in (self.extension, "cls"))
                if not _LABEL.fullmatch(label) or int(label) >= self.classes:
                    raise ShardError(f"{self.path}, sample {key}: its class is not one of the manifest")
                yield StoredImage(key, int(label), image)


def open_shard(shards: Shards, number: int) -> StoredShard:
    """Shard `number`. Raises `ShardError` where its bytes are not those of the manifest, or a sample lacks a field."""
    path, about, extension = shards.tar(number), shards.records[number], shards.fields.image
    try:
        digest = sha256_of(path)
    except FileNotFoundError:
        raise ShardError(f"{path} is missing") from None
    if digest != about["sha256"]:
        raise ShardError(f"{path} is damaged: its SHA-256 is not the one in the manifest; `semshard audit` says more")
    index = tar_index(path)
    if len(index) != about["samples"]:
        raise ShardError(f"{path} has {len(index)} samples, and the manifest says {about['samples']}")
    for key, parts in index:
        if not _KEY.fullmatch(key) or not {extension, "cls"} <= parts.keys():
            raise ShardError(f"{path}, sample {key!r}: not a sample of semshard")
    return StoredShard(number, path, index, extension, len(shards.classes))


def _read(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
