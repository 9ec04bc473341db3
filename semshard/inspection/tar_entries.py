"""The entries of a tar: complete samples in order, packed byte for byte as semshard packs them."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ..shards import Fields, read_tar
from ..shards import tar as packing
from .failure import Fail

Parts = dict[str, bytes]  # the fields of a sample, by extension
_KEY = re.compile(r"[0-9]{10}")
_HEADER = {"uid": 0, "gid": 0, "uname": "", "gname": "", "mtime": 0, "mode": 0o644, "linkname": ""}


def samples(tar: Path, fields: Fields, fail: Fail) -> Iterator[tuple[str, Parts]]:
    """The complete samples of a tar, (key, parts); everything wrong with an entry is reported. Raises `ShardError`."""
    key, parts, last = "", Parts(), ""
    with _Repacked(tar) as repacked:
        for header, data in read_tar(tar):
            repacked.add(header.name, data)
            stem, _, extension = header.name.partition(".")
            if not _belongs(stem, extension, tar, fields):
                fail(tar.name, f"entry {header.name!r} does not belong here")
                continue
            unusual = [name for name, value in _HEADER.items() if getattr(header, name) != value]
            if unusual or header.type != tarfile.REGTYPE or header.pax_headers:
                what = ", ".join(unusual) or "its type"
                fail(tar.name, f"the header of .{extension} holds more than it should: {what}", stem)
            if stem != key:
                if key:
                    yield from _complete(tar, key, parts, fields, fail)
                if stem <= last:
                    fail(tar.name, f"stands behind {last}", stem)
                key, parts, last = stem, {}, max(stem, last)
            if extension in parts:
                fail(tar.name, f"has .{extension} twice", stem)
            parts[extension] = data
        if key:
            yield from _complete(tar, key, parts, fields, fail)
        if not repacked.is_the_same():
            fail(tar.name, "is not packed as semshard packs these entries: headers, padding, or the end differ")


def _belongs(stem: str, extension: str, tar: Path, fields: Fields) -> bool:
    known = extension in (*fields.own, *fields.carried)
    return bool(_KEY.fullmatch(stem)) and stem.startswith(tar.stem) and known


def _complete(tar: Path, key: str, parts: Parts, fields: Fields, fail: Fail) -> Iterator[tuple[str, Parts]]:
    missing = sorted(set(fields.own) - set(parts))
    if missing:
        fail(tar.name, f"lacks {', '.join(missing)}", key)
        return
    if list(parts) != [name for name in (*fields.own, *sorted(fields.carried)) if name in parts]:
        fail(tar.name, f"has its fields in another order: {', '.join(parts)}", key)
    yield key, parts


class _Repacked:
    """A tar that is compared with what its entries are packed to, as they are read."""

    def __init__(self, path: Path) -> None:
        self._file, self._written, self._same = open(path, "rb"), 0, True  # noqa: SIM115 — closed by `__exit__`

    def __enter__(self) -> _Repacked:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, name: str, data: bytes) -> None:
        try:
            packed = packing.entry(name, data)
        except ValueError:  # no name of ours
            self._same = False
            return
        self._written += len(packed)
        self._same = self._same and self._file.read(len(packed)) == packed

    def is_the_same(self) -> bool:
        end = packing.end(self._written)
        return self._same and self._file.read(len(end) + 1) == end
