"""Reading shards: tars are read as streams of bytes and never extracted."""

from __future__ import annotations

import bisect
import functools
import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LedgerError, ShardError
from ..progress import Progress, remarks, silent
from ..settings import Size, levels, parse_radius
from ..storage import FetchedFolder, Folder, LocalFolder, open_folder
from .damage import damage
from .fields import Fields
from .ledger import ledger_path
from .ledger_files import is_needed_to_read
from .manifest import FILE as MANIFEST
from .manifest import read_manifest
from .names import digits_for, tar_name
from .pixels import decode_picture
from .shard_lists import ShardRecords

TarIndex = list[tuple[str, dict[str, tuple[int, int]]]]  # (key, extension → (offset, bytes)) of each sample, in order


@dataclass(frozen=True)
class Sample:
    """One protected image."""

    key: str
    image: NDArray[np.uint8]  # (H, W, 3) RGB
    label: int  # index into the classes
    about: dict[str, Any]  # class, width, height, linf in grey levels, sha256 of the pixels
    carried: dict[str, bytes] = field(default_factory=dict)  # fields of the source's sample, by extension


def read_tar(path: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """(header, bytes) of every entry, in order. Raises `ShardError` where the tar is broken."""
    with damage(path), tarfile.open(path, "r:") as tar:
        size = path.stat().st_size
        for entry in tar:
            if entry.isreg() and (entry.issparse() or entry.offset_data + entry.size > size):
                raise ShardError(f"{path} is damaged: {entry.name!r} ends behind it")  # before memory is taken for it
            file = tar.extractfile(entry) if entry.isreg() else None
            yield entry, file.read() if file else b""


@dataclass
class Shards:
    """A folder of shards: its manifest, and its samples in order or by number. Picklable, so workers can share it.

    Of an object store, tars are fetched when they are read: `at_hand` says for how long they are files of this machine.
    """

    files: Folder
    manifest: dict[str, Any]
    ledger_files: Folder  # private
    _offsets: dict[int, TarIndex] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        records = self.manifest["shards"]
        listed = not isinstance(records, ShardRecords)
        self._starts = [0, *itertools.accumulate(shard["samples"] for shard in records)][:-1] if listed else []

    @property
    def directory(self) -> Path:
        """Where its files are; those of an object store, where they are fetched to."""
        return self.files.directory

    @property
    def url(self) -> str:
        """What messages call it: the path of the folder, or s3://…"""
        return self.files.place.url

    @property
    def ledger(self) -> Path:
        """The private ledger, if it is there; of an object store, where it was fetched to."""
        return self.ledger_files.directory

    def elsewhere(self) -> Shards:
        """The same shards as a process with another current folder has them: by the whole path, and nothing read."""
        files, ledger = (
            LocalFolder(each.directory.absolute()) if isinstance(each, LocalFolder) else each
            for each in (self.files, self.ledger_files)
        )
        return Shards(files, self.manifest, ledger)

    def at_hand(self, *paths: Path) -> AbstractContextManager[None]:
        """While the block lasts, these files of `directory` can be read; those that do not exist are missing."""
        return self.files.at_hand(*(path.name for path in paths))

    def message_of(self, error: Exception) -> str:
        """What an error says, with the URL for the folder that files are fetched to."""
        return str(error).replace(str(self.directory), self.url)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names; a sample's label is an index into them."""
        return tuple(self.manifest["classes"])

    @functools.cached_property
    def budget(self) -> int:
        """The largest change that any channel of any pixel may show, in grey levels."""
        return levels(parse_radius(self.manifest["settings"]["rho_u"]))

    @functools.cached_property
    def fields(self) -> Fields:
        """What a sample consists of."""
        return Fields.of(self.manifest)

    @functools.cached_property
    def size(self) -> Size:
        """(height, width) of every image; None for photographs, each of its own."""
        image = self.manifest["image"]
        return (image["height"], image["width"]) if image["sizes"] == "one" else None

    @property
    def lossless(self) -> bool:
        """Whether the images hold exactly the protected pixels; JPEGs exceed the budget by what they change."""
        return self.fields.format != "jpeg"

    @property
    def records(self) -> Sequence[dict[str, Any]]:
        """What the manifest says of each shard, in order; `ShardError` where a file that lists them is broken."""
        shards: Sequence[dict[str, Any]] = self.manifest["shards"]
        return shards

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self.records)

    @property
    def digits(self) -> int:
        """How many digits the numbers of the shards have."""
        return digits_for(self.count)

    @property
    def tars(self) -> list[Path]:
        """The shards, in order."""
        return [self.tar(shard) for shard in range(self.count)]

    def tar(self, shard: int) -> Path:
        """The tar of one shard."""
        listed = isinstance(self.records, list)
        return self.directory / (self.records[shard]["name"] if listed else tar_name(shard, self.digits))

    def samples_in(self, shards: range) -> range:
        """The numbers of the samples in neighbouring shards, counted over all shards."""
        before = sum(record["samples"] for record in itertools.islice(self.records, shards.start))
        here = sum(record["samples"] for record in itertools.islice(self.records, shards.start, shards.stop))
        return range(before, before + here)

    def locate(self, number: int) -> tuple[int, int]:
        """The shard that holds a sample, counted over all shards, and its place there."""
        records = self.records
        if isinstance(records, ShardRecords):
            return records.locate(number)
        shard = bisect.bisect_right(self._starts, number) - 1
        return shard, number - self._starts[shard]

    def __len__(self) -> int:
        return int(self.manifest["counts"]["samples"])

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`, counted over all shards. Raises `IndexError` past the end, `ShardError` if it is broken."""
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(number)
        shard, place = self.locate(number)
        tar = self.tar(shard)
        try:
            with damage("it"), self.at_hand(tar), open(tar, "rb") as file:
                key, parts = self._index(shard)[place]
                return _sample(key, {name: _read(file, *part) for name, part in parts.items()}, self.fields)
        except ShardError as error:
            raise ShardError(f"{self.url}/{tar.name}, sample {place}: {error}") from error

    def keys(self) -> list[str]:
        """The key of every sample, in order; no image is decoded."""
        return [key for shard in range(self.count) for key, _ in self._index(shard)]

    def _index(self, shard: int) -> TarIndex:
        if shard not in self._offsets:
            tar = self.tar(shard)
            with self.at_hand(tar):
                self._offsets[shard] = tar_index(tar)
        return self._offsets[shard]


def files_of(tar: Path) -> tuple[Path, Path, Path]:
    """The files of the shard of a tar: itself, parquet, stats."""
    return tar, tar.with_suffix(".parquet"), tar.with_name(f"{tar.stem}_stats.json")


def open_shards(directory: str | Path, *, ledger: str | Path | None = None, progress: Progress = silent) -> Shards:
    """The shards in a `directory` that `protect` has finished, or at s3://BUCKET/PREFIX, gs://… or az://….

    `ledger` is the private ledger, a folder or a place like the shards; the one beside the directory unless given, and
    none for shards on an object store. It is fetched whole into a temporary folder where it is on one, but for its
    networks. Raises `ShardError` where there are no shards, `LedgerError` where a ledger was given and is not there,
    `StorageError`, and `UsageError` for a URL that cannot be opened.
    """
    files = open_folder(directory, remarks(progress))
    ledger_files = _ledger_files(files, ledger, progress)
    if isinstance(files, LocalFolder):
        return Shards(files, read_manifest(files.directory), ledger_files)
    files.keep(MANIFEST)
    try:
        return Shards(files, read_manifest(files.directory, files), ledger_files)
    except ShardError as error:
        raise ShardError(str(error).replace(str(files.directory), files.place.url)) from None


def _ledger_files(files: Folder, ledger: str | Path | None, progress: Progress) -> Folder:
    if ledger is None:
        return LocalFolder(ledger_path(files.directory))
    there = open_folder(ledger, remarks(progress))
    if isinstance(there, FetchedFolder):
        there.keep_all(is_needed_to_read)
    if not (there.directory / "run.json").exists():
        raise LedgerError(f"{there.place.url} holds no ledger: run.json is missing")
    return there


def tar_index(path: Path) -> TarIndex:
    """Where the fields of every sample of a tar are; only headers are read. Raises `ShardError` where it is broken."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    with damage(path), tarfile.open(path, "r:") as tar:
        for entry in tar:
            key, _, extension = entry.name.partition(".")
            samples.setdefault(key, {})[extension] = (entry.offset_data, entry.size)
    return list(samples.items())


def _read(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(size))


def _sample(key: str, parts: dict[str, bytes], fields: Fields) -> Sample:
    image = decode_picture(parts[fields.image], fields.format, fields.keep)
    carried = {extension: data for extension, data in parts.items() if extension not in fields.own}
    return Sample(key, image, int(parts["cls"]), json.loads(parts[fields.about]), carried)
