"""Files that are either whole or not there: temporary name in the same directory, flush, fsync, rename, fsync."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import RunError

_PREFIX, _SUFFIX = ".", ".semshard-tmp"
LEFTOVERS = f"{_PREFIX}*{_SUFFIX}"  # what temporary files are called
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
AFTERWARDS = "free some, then run the same command again: it goes on from here"


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` when the block ends well, and leaves nothing when it does not.

    Raises `RunError` where the disk, or what its owner may use of it, is full.
    """
    temporary = path.with_name(f"{_PREFIX}{path.name}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise RunError(f"{os.strerror(error.errno)}: {path}; {AFTERWARDS}") from error
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the new name last, too; Windows opens no folders, and needs no such call."""
    if os.name != "posix":
        return
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def json_bytes(value: Any) -> bytes:
    """`value` as indented JSON; the same value gives the same bytes."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    with atomic_write(path) as file:
        file.write(json_bytes(value))


def remove_leftovers(directory: Path, name: str = "*") -> None:
    """Delete what a killed process left half-written in `directory`, of files whose name fits a pattern."""
    for leftover in directory.glob(f"{_PREFIX}{name}{_SUFFIX}"):
        leftover.unlink()
