"""A lock on an open file that keeps other processes out, and that the system releases when its holder ends.

`flock` where there is one (Linux, macOS): processes that inherit the file hold the lock, too. On Windows `msvcrt`
locks the file's first byte, for this process alone. Where a Python has neither, nobody is kept out.
"""

from __future__ import annotations

import errno
import importlib
from types import ModuleType
from typing import IO

_NONE = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}  # Lustre without -o flock; NFS without a lock manager


class NoLocks(OSError):
    """The file system has no locks."""


def take(file: IO[bytes], shared: bool = False) -> bool:
    """Whether the lock was free; then it is this process's until `file` is closed. Never waits.

    A `shared` lock keeps only those out that do not share it, where the system knows the difference. The file is open
    for reading where it is shared, for writing where it is not: NFS requires that. Raises `NoLocks`.
    """
    if fcntl := _module("fcntl"):
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NONE:
                raise NoLocks(error.errno, error.strerror) from None
            raise
    elif msvcrt := _module("msvcrt"):
        file.seek(0)  # the byte at the file's position is locked; the file may be empty
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
    return True


def _module(name: str) -> ModuleType | None:
    """A module that not every system has."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
