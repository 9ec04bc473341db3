"""A tree of files, on this machine or wherever fsspec reaches: listed without reading, read by several threads."""

from __future__ import annotations

import errno
import html
import os
import posixpath
import re
import stat
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO, NoReturn, TypeVar
from urllib.parse import quote, unquote

from ..errors import RejectedImage, SourceError

LARGEST = 2**30  # bytes of one picture file; a film among the photographs must not fill the memory
PAUSES = (0.3, 2.0)  # seconds before the second and the third attempt to read something remote
DEEPEST = 32  # levels of remote folders; more is taken for a loop
_IGNORED = {"Thumbs.db", "desktop.ini", "__MACOSX"}
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, ImportError)
T = TypeVar("T")


class Files(ABC):
    """The files below `root`. Names are relative, with forward slashes; bytes that are not UTF-8 become surrogates.

    `roots` are the beginnings of absolute paths of this tree; `remarks` is complete after `names` was called.
    """

    root: str
    roots: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    is_shared: bool = True  # whether other processes of this machine can read them, too

    def names(self) -> list[str]:
        """All files but hidden ones and those that file managers leave behind, sorted by the bytes of the name."""
        return sorted(self._listed(), key=_bytes)

    @abstractmethod
    def _listed(self) -> Iterator[str]: ...

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The whole file; raises `RejectedImage` with the reason where it cannot be read."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """The file as a seekable stream; raises `RejectedImage` with the reason where it cannot be read."""


def open_files(place: str, pauses: tuple[float, ...] = PAUSES) -> Files:
    """The tree at a path or at any URL that fsspec knows; raises `SourceError` where there is none.

    After each of `pauses`, in seconds, a remote read that failed is tried again.
    """
    path = local_path(place)
    return RemoteFiles(place, pauses) if path is None else LocalFiles(path)


class LocalFiles(Files):
    """A folder. Linked folders are entered once, after all real ones, so that loops end."""

    def __init__(self, path: str) -> None:
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                raise SourceError(f"{printable(path)} is not a folder")
        except (FileNotFoundError, NotADirectoryError):
            raise SourceError(f"there is no folder {printable(path)}") from None
        except OSError as error:
            raise SourceError(f"{printable(path)} cannot be read: {error.strerror}") from None
        self.root = os.path.realpath(path)
        self.roots = (os.path.abspath(path), self.root)

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise RejectedImage(f"larger than {LARGEST >> 20} MiB")
            try:
                return file.read()
            except OSError as error:
                _reject(error)

    def open(self, name: str) -> BinaryIO:
        path = os.path.join(self.root, name)
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device would block the run
                raise RejectedImage("not a regular file")
            return open(path, "rb")
        except OSError as error:
            _reject(error)

    def _listed(self) -> Iterator[str]:
        self._repeated: list[str] = []
        self._closed: list[str] = []
        starts: set[str] = set()
        pending = [""]
        while pending:
            links: list[str] = []
            for start in sorted(pending, key=_bytes):
                real = os.path.realpath(os.path.join(self.root, start))
                if _entered(real, starts):
                    self._repeated.append(start)
                    continue
                starts.add(real)
                yield from self._walk(start, real, starts, links)
            pending = links
        self.remarks = tuple(self._observed())

    def _walk(self, start: str, real: str, starts: set[str], links: list[str]) -> Iterator[str]:
        """What really is below one folder; links to folders are added to `links`."""
        for folder, subfolders, files in os.walk(real, onerror=self._refused):
            inner = os.path.relpath(folder, real)
            prefix = "/".join(part for part in (start, "" if inner == "." else inner.replace(os.sep, "/")) if part)
            prefix += "/" if prefix else ""
            real_ones = []
            for name in filter(counts, subfolders):
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    links.append(prefix + name)
                elif path not in starts:
                    real_ones.append(name)
            subfolders[:] = real_ones
            yield from (prefix + name for name in files if counts(name))

    def _refused(self, error: OSError) -> None:
        if error.filename == self.root:
            raise SourceError(f"{printable(self.root)} cannot be read: {error.strerror}")
        if not isinstance(error, FileNotFoundError):  # removed in the meantime: treated as if it had never existed
            self._closed.append(f"{printable(os.path.relpath(error.filename, self.root))}: {error.strerror}")

    def _observed(self) -> Iterator[str]:
        if self._closed:
            yield f"{_many(len(self._closed), 'folder')} could not be entered, such as {min(self._closed)}"
        if self._repeated:
            count = _many(len(self._repeated), "linked folder")
            yield f"{count} not entered, as their content is read already, such as {printable(min(self._repeated))}"


class RemoteFiles(Files):
    """What is below a URL. Folders are listed one by one, and no listing is kept; short failures are retried."""

    def __init__(self, place: str, pauses: tuple[float, ...] = PAUSES) -> None:
        self.root, self._pauses = place, pauses
        self.roots = (place.rstrip("/"),)
        self._system, path = _filesystem(place)
        self._path = path.rstrip("/")
        self._http = place.lower().startswith(("http://", "https://"))
        # Systems that are not asynchronous inside (zip, ftp) share one connection or file position.
        self._turn = nullcontext() if getattr(self._system, "async_impl", False) else threading.Lock()
        self.is_shared = is_shared(self._system)

    def __reduce__(self) -> tuple[type[RemoteFiles], tuple[str, tuple[float, ...]]]:
        return RemoteFiles, (self.root, self._pauses)  # connections and locks stay in their process

    def read(self, name: str) -> bytes:
        try:
            return bytes(self._with_retries(lambda: self._system.cat_file(self._at(name))))
        except Exception as error:  # whatever the client of that protocol raises
            _reject(error)

    def open(self, name: str) -> BinaryIO:
        try:
            stream: BinaryIO = self._with_retries(lambda: self._system.open(self._at(name), "rb"))
            return stream
        except Exception as error:  # as above
            _reject(error)

    def _listed(self) -> Iterator[str]:
        pending, is_folder = [self._path], False
        while pending:
            for info in self._listing(pending.pop()):
                name = self._name(info["name"])
                is_folder = is_folder or bool(name)
                if not name or not counts(posixpath.basename(name)):
                    continue
                if info["type"] != "directory":
                    yield name
                elif name.count("/") < DEEPEST:
                    pending.append(info["name"])
                else:
                    raise SourceError(f"{self.root}: folders are nested too deep, as in a loop: {name}")
        if not is_folder and self._with_retries(lambda: self._system.isfile(self._path)):
            raise SourceError(f"{self.root} is a file, not a folder")

    def _listing(self, folder: str) -> list[dict[str, Any]]:
        try:
            listing: list[dict[str, Any]] = self._with_retries(lambda: self._system.ls(folder, detail=True))
        except FileNotFoundError:
            if folder != self._path:  # removed in the meantime: treated as if it had never existed
                return []
            raise SourceError(f"there is nothing at {self.root}") from None
        except Exception as error:  # whatever the client of that protocol raises
            raise SourceError(f"{self.root} cannot be listed: {_line(error)}") from error
        return listing

    def _name(self, path: str) -> str:
        """Relative to the root; empty for what is not below it."""
        if not path.startswith(self._path):
            return ""
        name = path[len(self._path) :].strip("/")
        return web_name(name) if self._http else name

    def _at(self, name: str) -> str:
        name = quote(name) if self._http else name
        return f"{self._path}/{name}" if self._path else name

    def _with_retries(self, act: Callable[[], T]) -> T:
        for pause in self._pauses:
            try:
                with self._turn:
                    return act()
            except _FINAL:
                raise
            except Exception:  # the last attempt raises it
                time.sleep(pause)
        with self._turn:
            return act()


def open_file(place: str) -> BinaryIO:
    """One file by its path or URL, as a seekable stream; raises `SourceError` where it cannot be opened."""
    path = local_path(place)
    try:
        if path is None:
            system, remote = _filesystem(place)
            stream: BinaryIO = system.open(remote, "rb")
            return stream
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise SourceError(f"{printable(place)} is not a regular file")
        return open(path, "rb")
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"there is no file {printable(place)}") from None
    except Exception as error:  # whatever the client of that protocol raises
        raise SourceError(f"{printable(place)} cannot be read: {_line(error)}") from error


def local_path(place: str) -> str | None:
    """The path on this machine that a place means; None where it is remote."""
    for scheme in ("file://", "local://"):
        if place.startswith(scheme):
            return place[len(scheme) :]
    return None if _REMOTE.match(place) and not os.path.lexists(place) else place


def below(path: str, roots: tuple[str, ...]) -> str:
    """The name, within a tree, of a path in a table: absolute paths below `roots` become relative."""
    path = path.replace("\\", "/")
    for root in roots:
        beginning = root.rstrip("/") + "/"
        if path.startswith(beginning):
            path = path[len(beginning) :].lstrip("/")
            break
    return posixpath.normpath(path)


def counts(name: str) -> bool:
    """Whether a file or folder of that name is neither hidden nor left behind by a file manager."""
    return not name.startswith(".") and name not in _IGNORED


def printable(name: str) -> str:
    r"""The name as valid Unicode: bytes that are not UTF-8 become \xNN, so backslashes become two; never ambiguous."""
    if name.isascii() and "\\" not in name:
        return name
    return _bytes(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def web_name(link: str) -> str:
    """The name of a file from its link in a web page; empty for links that sort or search the listing."""
    link = html.unescape(link)
    return "" if "?" in link or "#" in link else unquote(link, errors="surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _entered(real: str, starts: set[str]) -> bool:
    """Whether a walk from one of `starts` has entered this folder."""
    while real not in starts:
        parent, name = os.path.split(real)
        if parent == real or not counts(name):
            return False
        real = parent
    return True


def is_shared(system: Any) -> bool:
    """Whether another process that opens this fsspec file system finds the same files."""
    names = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
    inner = getattr(system, "fs", None)  # of a file system inside another one's file
    return "memory" not in names and (inner is None or is_shared(inner))


def _filesystem(place: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

    try:
        system, path = url_to_fs(place, use_listings_cache=False)
        return system, path
    except ImportError as error:
        missing = getattr(error.__cause__ or error, "name", None)
        hint = f" (pip install {missing.split('.')[0]})" if missing else ""
        raise SourceError(f"{place} needs a package that is not installed: {_line(error)}{hint}") from error
    except Exception as error:  # whatever the client of that protocol raises
        raise SourceError(f"{place} cannot be opened: {_line(error)}") from error


def _reject(error: Exception) -> NoReturn:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise RejectedImage("vanished") from None
    if isinstance(error, IsADirectoryError):
        raise RejectedImage("not a regular file") from None
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        raise RejectedImage("cannot be read: Permission denied") from None
    bare = error.strerror if isinstance(error, OSError) and error.filename is not None else None  # without its path
    raise RejectedImage(f"cannot be read: {bare or _line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
