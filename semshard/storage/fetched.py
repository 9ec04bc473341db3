"""A place whose files are read as files of this machine: a folder as it is, an object store through a folder for a
while.

Tar, parquet and picture libraries read files. Those of an object store are fetched when they are needed, into a
temporary folder of this process, and those that were not used for longest are deleted when they take too much room.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Protocol

from ..atomic import NO_SPACE
from ..digests import read_plain
from ..errors import StorageError
from .local import LocalPlace
from .opened import open_place
from .place import Place, Remark, check_name

ROOM = 1 << 30  # bytes of fetched files on the disk, unless those in use alone are more


class Folder(Protocol):
    """Files of a place."""

    place: Place

    @property
    def directory(self) -> Path:
        """Where they are, or are fetched to."""

    def at_hand(self, *names: str) -> contextlib.AbstractContextManager[None]:
        """While the block lasts, these files are in `directory`; those that are missing are not. Raises
        `StorageError`.
        """

    def keep(self, *names: str) -> None:
        """From now on these files are in `directory`; those that are missing are not. Raises `StorageError`."""

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises `OSError`, `FileNotFoundError` among it, and `StorageError`."""

    def is_plain(self, name: str) -> bool | None:
        """Whether this is a plain file: no folder, link or pipe; None where it is missing. Nothing is fetched."""

    def listed(self) -> Iterator[tuple[str, bool]]:
        """The names of what lies in the place, and whether each is a plain file, in no particular order."""


class LocalFolder:
    """A folder of this machine, as it is."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.place: Place = LocalPlace(directory)

    @contextmanager
    def at_hand(self, *names: str) -> Iterator[None]:
        yield

    def keep(self, *names: str) -> None:
        pass

    def read(self, name: str) -> bytes:
        return read_plain(self.directory / name)

    def is_plain(self, name: str) -> bool | None:
        path = self.directory / name
        return path.is_file() and not path.is_symlink() if path.exists() else None

    def listed(self) -> Iterator[tuple[str, bool]]:
        with os.scandir(self.directory) as entries:
            for entry in entries:
                yield entry.name, entry.is_file(follow_symlinks=False)


class FetchedFolder:
    """Files of an object store, in a temporary folder of this process; another one where it is sent by pickle."""

    def __init__(
        self, place: Place, room: int = ROOM, kept: tuple[str, ...] = (), wanted: Callable[[str], bool] | None = None
    ) -> None:
        """Up to `room` bytes of files that are not in use stay; the others are for pickle."""
        self.place, self._room, self._kept, self._wanted = place, room, kept, wanted
        self._home: Path | None = None
        self._used = OrderedDict[str, list[int]]()  # name → bytes, blocks that use it; the longest unused first
        self._lock = RLock()

    def __reduce__(self) -> tuple[object, ...]:
        return FetchedFolder, (self.place, self._room, self._kept, self._wanted)

    @property
    def directory(self) -> Path:
        with self._lock:
            if self._home is None:
                home = Path(tempfile.mkdtemp(prefix="semshard-"))  # mode 0700
                weakref.finalize(self, _remove, home, os.getpid())
                self._home = home / (self.place.url.rpartition("/")[2] or "shards")
                self._home.mkdir(mode=0o700)
                try:
                    self._fetch_kept()
                except BaseException:
                    self._home = None
                    self._used.clear()
                    raise
            return self._home

    @contextmanager
    def at_hand(self, *names: str) -> Iterator[None]:
        here = list[str]()
        try:
            with self._lock:
                for name in names:
                    if self._fetch(name):
                        here.append(name)
            yield
        finally:
            with self._lock:
                for name in here:
                    self._used[name][1] -= 1

    def keep(self, *names: str) -> None:
        with self._lock:
            self._kept += names
            if self._home is None:
                _ = self.directory
            else:
                self._fetch_kept()

    def keep_all(self, wanted: Callable[[str], bool]) -> None:
        """From now on every file of a `wanted` name is in `directory`."""
        self._wanted = wanted
        self.keep()

    def _fetch_kept(self) -> None:
        for name in self._kept:
            if name not in self._used:
                self._fetch(name)
        if self._wanted is not None:
            for entry in self.place.list():
                if self._wanted(entry.name) and entry.name not in self._used:
                    self._fetch(check_name(entry.name))

    def read(self, name: str) -> bytes:
        with self.at_hand(name):
            return read_plain(self.directory / name)

    def is_plain(self, name: str) -> bool | None:
        try:
            self.place.size(name)
        except FileNotFoundError:
            return None
        return True

    def listed(self) -> Iterator[tuple[str, bool]]:
        folders = set[str]()
        for entry in self.place.list():
            name, _, below = entry.name.partition("/")
            if name not in folders:
                yield name, not below
            if below:
                folders.add(name)

    def _fetch(self, name: str) -> bool:
        """Whether the file is there; then it counts as used, until its block ends."""
        if name not in self._used:
            try:
                size = self.place.size(name)
                self._make_room(size)
                fetch_file(self.place, name, self.directory / name)
            except FileNotFoundError:
                return False
            self._used[name] = [size, 0]
        self._used[name][1] += 1
        self._used.move_to_end(name)
        return True

    def _make_room(self, size: int) -> None:
        held = sum(each for each, _ in self._used.values())
        for name, (each, users) in list(self._used.items()):
            if held + size <= self._room:
                return
            if not users:
                (self.directory / name).unlink(missing_ok=True)
                del self._used[name]
                held -= each


def fetch_file(place: Place, name: str, path: Path) -> None:
    """Write a file of a place to `path`, in a temporary folder. Raises `StorageError` and `FileNotFoundError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "wb") as file:
            file.writelines(place.stream(name))
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            what = os.strerror(error.errno or errno.ENOSPC)
            raise StorageError(f"{what}: {path.parent}; set TMPDIR to a folder with room for a shard") from error
        raise


def open_folder(where: str | Path, remark: Remark) -> Folder:
    """The files at a path or a URL. Raises `UsageError`."""
    place = open_place(where, remark)
    return LocalFolder(where) if isinstance(place, LocalPlace) else FetchedFolder(place)


def _remove(home: Path, process: int) -> None:
    """Of the process that made it; one that was forked from it leaves it alone."""
    if os.getpid() == process:
        shutil.rmtree(home, ignore_errors=True)
