"""Tars: where they are, and the samples in them, read from the headers in one pass; no place in a tar is trusted.

A tar is on this machine or of any kind that fsspec knows. Its contents are read by their place in it, by any thread.

The form: https://github.com/webdataset/webdataset, "The WebDataset Format"; the tar itself: POSIX.1-2001, pax.
"""

from __future__ import annotations

import glob
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from braceexpand import braceexpand

from ..errors import RejectedImage, SourceError
from .files import is_shared

BLOCK = 4 << 20  # bytes per request to a remote tar: a request costs more than what is between two headers
LARGEST_READ = 16 << 20  # bytes of a field, while indexing
EXTENSION = re.compile(r"[a-z0-9._-]{1,70}")  # with a key before it, it fits a tar's header
FIELD_TWICE = "one of its fields occurs twice"
UNSAFE = "its name is absolute or has .. in it"
_META = re.compile(r"__[^/]*__(/|$)")  # webdataset's own notes, which belong to no sample
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
Place = tuple[int, int]  # offset of the first byte in the tar, number of bytes


@dataclass(frozen=True)
class Tar:
    """One input tar."""

    path: str
    system: Any = None  # an fsspec file system; None for a local file
    name: str = ""  # the end of its path, as long as is needed to be unique

    @property
    def folder(self) -> str:
        """On this machine; empty for a remote tar."""
        return os.path.dirname(os.path.abspath(self.path)) if self.system is None else ""

    @property
    def is_shared(self) -> bool:
        """Whether other processes of this machine can read it, too."""
        return self.system is None or is_shared(self.system)

    def open(self) -> Any:  # IO[bytes]
        options = {"block_size": BLOCK, "cache_type": "readahead"}
        return open(self.path, "rb") if self.system is None else self.system.open(self.path, "rb", **options)

    def read(self, place: Place) -> bytes:
        """Those bytes, for any thread. Raises `RejectedImage` where they cannot be read."""
        offset, size = place
        try:
            if not size:
                return b""
            if self.system is None:
                with open(self.path, "rb") as file:
                    file.seek(offset)
                    data = file.read(size)
            else:
                data = bytes(self.system.cat_file(self.path, start=offset, end=offset + size))
        except FileNotFoundError:
            raise RejectedImage(f"{self.name} vanished") from None
        except Exception as error:  # every remote library has errors of its own
            raise RejectedImage(f"{self.name} cannot be read: {first_line(error)}") from None
        if len(data) != size:
            raise RejectedImage(f"{self.name} changed since it was indexed")
        return data


@dataclass
class Sample:
    """Consecutive files of one key."""

    key: str
    fault: str = ""
    fields: dict[str, Place] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)  # of the fields that are read while indexing


def expand(place: str) -> list[Tar]:
    """The tars that a place names, in order. Raises `SourceError` where it names none, or one of them twice."""
    try:
        tars = [tar for part in place.split("::") for text in braceexpand(part) for tar in _locate(text)]
    except ValueError:
        raise SourceError(f"{place!r} has braces that do not pair; write them like {{00000..00009}}.tar") from None
    if not tars:
        raise SourceError(f"nothing matches {place!r}")
    paths = [tar.path.split("/") for tar in tars]
    for tail in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-tail:]) for path in paths]
        if len(set(names)) == len(names):
            return [Tar(tar.path, tar.system, name) for tar, name in zip(tars, names, strict=True)]
    raise SourceError(f"{place!r} names {next(name for name in names if names.count(name) > 1)} twice")


def absolute(place: str) -> str:
    """A place that names the same tars from any folder. `expand` has to know it."""
    here = re.sub(r"([\\{}])", r"\\\1", os.getcwd())  # braces in it are not ranges

    def fixed(part: str) -> str:
        known = re.compile("/|file:(//)?/(?!/)|(?!file:).*://")
        is_absolute = any(known.match(text) for text in braceexpand(part))
        return part if is_absolute else os.path.join(here, re.sub("^file:(//)?", "", part))

    return "::".join(map(fixed, place.split("::")))


def _locate(text: str) -> list[Tar]:
    if text.startswith("pipe:"):
        raise SourceError(f"{text!r} is a command, and none is run; name files, or a URL that fsspec knows")
    if "://" not in text or text.startswith("file:"):
        path = re.sub("^file:(//)?", "", text)
        if os.path.isdir(path):
            raise SourceError(f"{path} is a folder; name the tars in it, like 'wds:{os.path.join(path, '*.tar')}'")
        if not re.search("[*?]", path) or os.path.exists(path):
            return [Tar(path)]
        return [Tar(match) for match in sorted(glob.glob(path.replace("[", "[[]")))]
    import fsspec

    magic = "[*]" if text.startswith("http") else "[*?]"  # the query of a web address starts with a question mark
    try:
        system, path = fsspec.core.url_to_fs(text)
        return [Tar(match, system) for match in (sorted(system.glob(path)) if re.search(magic, path) else [path])]
    except Exception as error:  # every remote library has errors of its own
        raise SourceError(f"{text} cannot be opened: {first_line(error)}") from None


def _members(tar: Tar, reads: set[str]) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Header of every entry, and the contents of those whose extension is in `reads`.

    `tarfile` takes a damaged or missing header for the end of the tar; here its end has to be marked as such.
    """
    at = 0
    try:
        with tar.open() as file:
            if file.read(6).startswith(_COMPRESSED):
                raise SourceError(f"{tar.path} is compressed; unpack it, pictures are read by their place in the tar")
            file.seek(0)
            walk = tarfile.TarFile(fileobj=file, encoding="utf-8", errors="surrogateescape")
            while (member := walk.next()) is not None:
                if walk.offset <= at:
                    raise tarfile.ReadError("a header points back")
                at = walk.offset
                walk.members.clear()  # type: ignore[attr-defined]
                file.seek(member.offset_data)
                is_read = member.isreg() and split_name(member.name)[1] in reads
                yield member, file.read(min(member.size, LARGEST_READ)) if is_read else None
            file.seek(at)
            end = file.read(tarfile.BLOCKSIZE)
            if any(end) or len(end) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("a damaged header" if len(end) == tarfile.BLOCKSIZE else "cut short")
    except FileNotFoundError:
        raise SourceError(f"{tar.path} is missing") from None
    except Exception as error:  # of tarfile at a hostile header, or of a remote library
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{tar.path} cannot be read as a tar at byte {at}: {first_line(error)}") from None


def samples(tar: Tar, reads: set[str], left_out: Counter[str]) -> Iterator[Sample]:
    """The samples of a tar, in order, with the contents of the fields in `reads`, which may change between samples.

    Files that are in no sample are counted in `left_out`: "loose" without a key, "unsafe" by kind or name. Raises
    `SourceError` where the tar is missing, broken or cut short.
    """
    sample = None
    for member, data in _members(tar, reads):
        key, extension = split_name(member.name)
        whole = member.isreg() and not member.issparse()
        if member.isdir() or not key or _META.match(member.name):
            left_out["loose"] += not member.isdir()
            continue
        if whole and (sample is None or key != sample.key):
            if sample:
                yield sample
            sample = Sample(key, UNSAFE if key.startswith("/") or ".." in key.split("/") else "")
        if not whole or not sample or sample.fault == UNSAFE or not EXTENSION.fullmatch(extension):
            left_out["unsafe"] += 1
            continue
        if extension in sample.fields:
            sample.fault = FIELD_TWICE
        sample.fields[extension] = (member.offset_data, member.size)
        if data is not None:
            sample.contents[extension] = data
    if sample:
        yield sample


def split_name(name: str) -> tuple[str, str]:
    """(key, extension in lower case) of a file in a tar; both are empty where it belongs to no sample."""
    folder, slash, last = name.removeprefix("./").rpartition("/")
    base, _, extension = last.partition(".")
    return (folder + slash + base, extension.lower()) if base and extension else ("", "")


def first_line(error: BaseException) -> str:
    """The first line of another library's error message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
