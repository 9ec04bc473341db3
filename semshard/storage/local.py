"""A folder of this machine as a place: temporary name in the same folder, flush, fsync, rename or link, fsync."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import LEFTOVERS, atomic_write
from ..digests import read_plain
from ..errors import AlreadyThere, StorageError
from .place import Content, Entry, check_name, pieces

_PIECE = 1 << 20  # bytes that are read at once


class LocalPlace:
    """The files of a folder, which is made when the first is written."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def url(self) -> str:
        return str(self.folder)

    def put(self, name: str, content: Content) -> None:
        path = self._path(name)
        with _in_words(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.writelines(pieces(content))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        with _in_words(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with atomic_write(path, replace=False) as file:
                    file.write(data)
            except FileExistsError:
                if read_plain(path) != data:
                    raise AlreadyThere(f"{path} is there already, with other bytes") from None
                return False
            return True

    def get(self, name: str) -> bytes:
        path = self._file(name)
        with _in_words(path):
            return read_plain(path)

    def get_range(self, name: str, start: int, end: int) -> bytes:
        path = self._file(name)
        with _in_words(path), open(path, "rb") as file:
            file.seek(start)
            return file.read(max(0, end - start))

    def stream(self, name: str) -> Iterator[bytes]:
        path = self._file(name)
        with _in_words(path), open(path, "rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def size(self, name: str) -> int:
        path = self._file(name)
        with _in_words(path):
            return path.stat().st_size

    def list(self, under: str = "") -> Iterator[Entry]:
        top = self._path(under) if under else self.folder
        with _in_words(top):
            for folder, _, names in os.walk(top, onerror=_raise):
                for path in (Path(folder, name) for name in names):
                    if not path.match(LEFTOVERS) and path.is_file():
                        yield Entry(path.relative_to(self.folder).as_posix(), path.stat().st_size)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with _in_words(path):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / check_name(name)

    def _file(self, name: str) -> Path:
        """The path of a file to be read, which a folder is not."""
        path = self._path(name)
        if path.is_dir():
            raise FileNotFoundError(f"{path} is missing: a folder is there")
        return path


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """In this block an error of the system becomes one of ours, but for a missing file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or type(error).__name__}") from error


def _raise(error: OSError) -> None:
    """An `os.walk` that cannot read a folder says so; a folder that is not there holds nothing."""
    if not isinstance(error, FileNotFoundError):
        raise error
