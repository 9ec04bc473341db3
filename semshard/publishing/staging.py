"""A folder that is whole or not there: written under a hidden name beside it, and renamed at the end.

What a call that was interrupted had done stays under the hidden name, with a journal, and the same call continues
there.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..atomic import remove_leftovers
from ..errors import OutputError
from ..file_lock import NoLocks, take

_SUFFIX = ".semshard-export"
_JOURNAL = "journal.jsonl"
_LOCK = "lock"


class Staging:
    """What is being made for the folder `out`. `identity` says of what: work on anything else is thrown away. No other
    process writes it until this is closed, as a context manager is.

    Raises `OutputError` where `out` is a file, a folder that is not empty or the current one, or where another process
    is making it.
    """

    def __init__(self, out: Path, identity: dict[str, Any]) -> None:
        if not out.name:
            raise OutputError(f"{out.absolute()} is where this command stands; choose another name for --out")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out} exists and is not an empty folder; choose another name for --out")
        self._out, self._home = out, out.with_name(f".{out.name}{_SUFFIX}")
        self.folder = self._home / "folder"
        self.done: list[dict[str, Any]] = []  # what is known of each finished part, in order
        self._lock = self._locked()
        lines = _journal(self._home / _JOURNAL)
        if lines[:1] == [identity] and self.folder.is_dir():
            self.done = lines[1:]
            for folder, _, _ in os.walk(self.folder):
                remove_leftovers(Path(folder))
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
        self._write([identity, *self.done])

    def add(self, part: dict[str, Any]) -> None:
        """One more part is finished, and its files are on the disk."""
        self.done.append(part)
        with open(self._home / _JOURNAL, "ab") as file:
            file.write(_line(part))

    def publish(self) -> None:
        """Rename the folder to its name, as the last thing."""
        flush()
        if self._out.is_dir():
            self._out.rmdir()
        (self._home / _JOURNAL).unlink()
        os.replace(self.folder, self._out)
        self._lock.close()
        (self._home / _LOCK).unlink(missing_ok=True)
        self._home.rmdir()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def _locked(self) -> IO[bytes]:
        """The open file that keeps other processes out; where the file system has no locks, nobody is."""
        self._home.mkdir(parents=True, exist_ok=True)
        file = open(self._home / _LOCK, "ab")  # noqa: SIM115
        with suppress(NoLocks):
            if not take(file):
                file.close()
                raise OutputError(f"another process is writing {self._out}")
        return file

    def _write(self, lines: list[dict[str, Any]]) -> None:
        """The journal anew: the last line of an interrupted call may be a part of one."""
        with open(self._home / _JOURNAL, "wb") as file:
            file.writelines(map(_line, lines))


def flush() -> None:
    """Wait until all that was written is on the disk; one call instead of an fsync for each of many small files."""
    if hasattr(os, "sync"):  # not on Windows
        os.sync()


def _line(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def _journal(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; none where there is no journal, or it is not one."""
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    except (FileNotFoundError, ValueError):
        return []
