"""Bytes and digests of files. What else may have a file's name, such as a pipe, is refused and never waited for."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path


def read_plain(path: Path) -> bytes:
    """The bytes of a file. Raises `OSError`, `FileNotFoundError` among it."""
    _check_plain(path)
    return path.read_bytes()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex; it is read piece by piece. Raises `OSError`."""
    _check_plain(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_if_there(path: Path) -> str:
    """SHA-256 of a file, in hex; empty where it is missing, or not a plain file."""
    return sha256_of(path) if path.is_file() else ""


def _check_plain(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))
