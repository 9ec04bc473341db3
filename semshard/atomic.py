"""Files that are either whole or not there: temporary name in the same directory, flush, fsync, rename, fsync.

A temporary name is nobody else's, and its writer holds a lock on the file: what a killed process left has a lock that
is free, so that it can be deleted while other processes write in the same folder.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from .errors import RunError
from .file_lock import NoLocks, take

_PREFIX, _SUFFIX = ".", ".semshard-tmp"
LEFTOVERS = f"{_PREFIX}*{_SUFFIX}"  # what temporary files are called
_WRITER = "{here}-{process}-{random}"  # between the name of the file and the suffix; earlier versions had nothing there
NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
AFTERWARDS = "free some, then run the same command again: it goes on from here"
_RENAMES_OPEN = os.name == "posix"  # Windows renames and deletes no open file


@contextmanager
def atomic_write(path: Path, replace: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` when the block ends well, and leaves nothing when it does not.

    Raises `RunError` where the disk, or what its owner may use of it, is full, and `FileExistsError` where the file is
    there already and must not be replaced.
    """
    temporary: Path | None = None
    try:
        with _new_file(path) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if _RENAMES_OPEN:  # while its lock is held, so that nobody takes it for a leftover
                _publish(temporary, path, replace)
        if not _RENAMES_OPEN:
            _publish(temporary, path, replace)
    except BaseException as error:
        if temporary:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise RunError(f"{os.strerror(error.errno)}: {path}; {AFTERWARDS}") from error
        raise
    sync_folder(path.parent)


def _new_file(path: Path) -> IO[bytes]:
    """A file with a temporary name beside `path`, and its lock where the file system has locks."""
    while True:
        writer = _WRITER.format(here=_here(), process=os.getpid(), random=secrets.token_hex(4))
        temporary = path.with_name(f"{_PREFIX}{path.name}.{writer}{_SUFFIX}")
        file = open(temporary, "xb")  # noqa: SIM115
        try:
            if take(file) and temporary.exists():  # else somebody who cleans up came in between
                return file
        except NoLocks:
            return file
        except BaseException:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        file.close()


@functools.cache
def _here() -> str:
    """This machine, in eight digits: its name must not be in a folder that is published."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _publish(temporary: Path, path: Path, replace: bool) -> None:
    if replace:
        os.replace(temporary, path)
    elif not _RENAMES_OPEN:
        os.rename(temporary, path)  # which replaces nothing there
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            os.replace(temporary, path)
        else:
            temporary.unlink()


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
    """`value` as indented JSON; the same value gives the same bytes. Bytes of a path that are no UTF-8, which Python
    has as halves of surrogate pairs, are escaped: JSON reads them back.
    """
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def write_json(path: Path, value: Any, replace: bool = True) -> None:
    """`value` as indented JSON, atomically. Raises as `atomic_write` does."""
    with atomic_write(path, replace) as file:
        file.write(json_bytes(value))


def remove_leftovers(directory: Path, name: str = "*", everywhere: bool = True) -> None:
    """Delete what a killed process left half-written in `directory`, of files whose name fits a pattern.

    What a process is writing is left alone, and so is everything where the file system has no locks. Some file systems
    know the locks of one machine only: unless nobody else can be writing `everywhere`, only what was left by this
    machine is deleted.
    """
    writer = _WRITER.format(here="*" if everywhere else _here(), process="*", random="*")
    for leftover in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        inner = leftover.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        if fnmatchcase(inner, f"{name}.{writer}") or (everywhere and fnmatchcase(inner, name)):
            _remove_if_left(leftover)


def _remove_if_left(leftover: Path) -> None:
    try:
        with open(leftover, "r+b") as file:
            if not take(file):
                return
            if _RENAMES_OPEN:
                leftover.unlink(missing_ok=True)
                return
        leftover.unlink(missing_ok=True)
    except (FileNotFoundError, PermissionError, NoLocks):  # gone, of another user, or nobody knows
        return
