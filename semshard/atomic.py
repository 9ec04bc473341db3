"""Files that are either whole or not there: temporary name in the same directory, flush, fsync, rename, fsync."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_PREFIX, _SUFFIX = ".", ".semshard-tmp"


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears at `path` when the block ends well, and leaves nothing when it does not."""
    temporary = path.with_name(f"{_PREFIX}{path.name}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically; the same value gives the same bytes."""
    with atomic_write(path) as file:
        file.write(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """`value` as `write_json` writes it."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def remove_leftovers(directory: Path) -> None:
    """Delete what a killed process left half-written in `directory`."""
    for leftover in directory.glob(f"{_PREFIX}*{_SUFFIX}"):
        leftover.unlink()
