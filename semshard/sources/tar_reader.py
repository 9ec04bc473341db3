"""Reads samples of tars by their places in them, without walking through the tars again."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from ..errors import RejectedImage
from .source import Location, Reader
from .tars import Tar, first_line

ABOUT = ("json", "semshard.json")  # where semshard describes a sample, and the least that it writes:
_ABOUT_KEYS = {"width", "height", "linf", "sha256"}


class TarReader(Reader):
    """Locations have the path or URL of the tar, where the picture is in it, and in `more` the other `fields`:
    extension → [offset, size]. `described` are the folders where semshard's manifest is.
    """

    def __init__(self, described: Collection[str]) -> None:
        self._described = frozenset(described)

    def read(self, location: Location) -> bytes:
        return _tar(location.file).read((location.offset, location.size))

    def carried(self, location: Location) -> dict[str, bytes]:
        tar, carried = _tar(location.file), {}
        for extension, (offset, size) in location.more.get("fields", {}).items():
            data = tar.read((offset, size))
            if extension not in ABOUT or not is_ours(data, tar.folder in self._described):
                carried[extension] = data
        return carried

    def to_json(self) -> dict[str, Any]:
        return {"kind": "tars", "described": sorted(self._described)}


def address(tar: Tar) -> str:
    """The path or the URL that a tar is opened by again."""
    return os.path.abspath(tar.path) if tar.system is None else str(tar.system.unstrip_protocol(tar.path))


def has_address(tar: Tar) -> bool:
    """Whether another process finds the same tar at its address."""
    if tar.system is None:
        return True
    from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

    try:
        return bool(tar.is_shared and url_to_fs(address(tar)) == (tar.system, tar.path))
    except Exception:  # every remote library has errors of its own
        return False


def is_ours(data: bytes | None, is_described: bool) -> bool:
    """Whether semshard wrote this .json: by its keys alone, or with more of them beside a manifest."""
    try:
        about = json.loads(data or b"")
    except (ValueError, RecursionError):
        return False
    keys = about.keys() if isinstance(about, dict) else set()
    return keys == _ABOUT_KEYS | {"class"} or (keys >= _ABOUT_KEYS and is_described)


@lru_cache(256)
def _tar(place: str) -> Tar:
    """The tar at an address. Raises `RejectedImage`."""
    name = posixpath.basename(place)
    if "://" not in place:  # which no absolute path has
        return Tar(place, None, name)
    from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

    try:
        system, path = url_to_fs(place)
    except Exception as error:  # as above
        raise RejectedImage(f"{name} cannot be read: {first_line(error)}") from None
    return Tar(path, system, name)
