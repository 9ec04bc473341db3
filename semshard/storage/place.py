"""A place where files lie, a local folder or an object store, with one rule of publication: a file is there whole, or
it is not there.

Names are relative, with `/` between their parts, and made of letters, digits, `.`, `_` and `-`; no part begins with a
dot, so that none leads out of the place or looks like a temporary file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import OutputError, StorageError

Content = bytes | Path | Iterable[bytes]  # bytes, a file of this machine, or bytes piece by piece
Remark = Callable[[str], None]

SCHEMES = ("s3", "gs", "az")  # object stores that can be opened
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)  # two letters at least: C: is a drive
_PIECE = 1 << 20  # bytes of a file that are read at once


@dataclass(frozen=True)
class Entry:
    """A file in a listing."""

    name: str  # relative to the place
    size: int  # bytes


class Place(Protocol):
    """Files by their names.

    Every method raises `StorageError` where the place refuses or cannot be reached, or the name is not allowed; those
    that read raise `FileNotFoundError` where there is no such file. Places can be pickled, so that workers open them.
    """

    @property
    def url(self) -> str:
        """What messages call it; opens the same place again."""

    def put(self, name: str, content: Content) -> None:
        """Write a file, in place of an earlier one: who reads meanwhile sees the old one, or the new one, whole.

        Large contents are never in memory as a whole.
        """

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file where there is none; of several that try at once, one succeeds. Small contents only.

        Returns whether this call wrote it. False: the same bytes were there already. After a request whose answer was
        lost nobody can say who wrote equal bytes: they count as written by this call. Raises `AlreadyThere` where other
        bytes are there, which stay.
        """

    def get(self, name: str) -> bytes:
        """The bytes of a file."""

    def get_range(self, name: str, start: int, end: int) -> bytes:
        """Bytes `start` to `end`, which is excluded, of a file; fewer where it ends before."""

    def stream(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece: all of one version of it, or an error."""

    def size(self, name: str) -> int:
        """The bytes that a file has."""

    def list(self, under: str = "") -> Iterator[Entry]:
        """Every file, or every file below the folder `under`, in no particular order."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""


def check_name(name: str) -> str:
    """The name itself. Raises `StorageError` where it is not allowed."""
    if not _NAME.fullmatch(name):
        raise StorageError(f"{name!r} cannot name a file of a place: letters, digits, '.', '_', '-' and '/' can")
    return name


def pieces(content: Content) -> Iterator[bytes]:
    """The content, piece by piece."""
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, Path):
        with open(content, "rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    else:
        yield from content


def split_url(where: str | Path) -> tuple[str, str] | None:
    """The scheme and the rest of a URL, also of one that became a `Path` on the way; None for a folder."""
    found = _URL.fullmatch(str(where).replace("\\", "/"))
    return (found[1].lower(), found[2].rstrip("/")) if found else None


def is_remote(where: str | Path) -> bool:
    """Whether this is a URL, and not a folder of this machine."""
    return split_url(where) is not None


def local_path(where: str | Path, what: str) -> Path:
    """The path of `what`, an option or an argument. Raises `OutputError` where it is a URL."""
    if url := split_url(where):
        raise OutputError(
            f"{what} {url[0]}://{url[1]} must be a path of this machine: only protect writes into an object store"
        )
    return Path(where)
