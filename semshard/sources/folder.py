"""A folder whose subfolders are classes; every file below a class folder, however deep, belongs to it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import RejectedImage, SourceError
from .decode import decode
from .source import Entry, Loaded

_IGNORED = {"Thumbs.db", "desktop.ini", "__MACOSX"}


class Folder:
    """The files below `root`, sorted by path. Hidden files and the droppings of file managers do not count."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise SourceError(f"{root} is no folder" if root.exists() else f"there is no folder {root}")
        self.root = root.resolve()
        self._names = sorted(_files(self.root))
        classes = sorted({name.split("/", 1)[0] for name in self._names if "/" in name})
        if not classes:
            found = f"{len(self._names)} files but no class folders" if self._names else "no files"
            raise SourceError(f"{root} holds {found}; put the images of each class into a folder of its own")
        if len(classes) < 2:
            raise SourceError(f"{root} holds one class only ({classes[0]}); noise needs at least two to tell apart")
        self._classes = {name: label for label, name in enumerate(classes)}
        digest = hashlib.sha256()
        for name in self._names:
            digest.update(os.fsencode(name) + b"\0")
        self.digest = digest.hexdigest()

    @property
    def spec(self) -> str:
        return str(self.root)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(_printable(name) for name in self._classes)

    def __len__(self) -> int:
        return len(self._names)

    def entry(self, number: int) -> Entry:
        name = self._names[number]
        return Entry(_printable(name), self._classes.get(name.split("/", 1)[0]) if "/" in name else None)

    def load(self, number: int) -> Loaded:
        path = self.root / self._names[number]
        if not path.is_file():  # a pipe or a device would block the run for ever
            raise RejectedImage("vanished" if not path.exists() else "not a regular file")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RejectedImage(f"cannot be read: {error.strerror}") from None
        return Loaded(decode(data), hashlib.sha256(data).hexdigest())


def _files(root: Path) -> Iterator[str]:
    """Paths below root, relative, with forward slashes. Linked folders are entered once; loops end."""
    entered = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders[:] = sorted(name for name in subfolders if _counts(name))
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative.replace(os.sep, "/") + "/"
        yield from (prefix + name for name in files if _counts(name))


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in _IGNORED


def _printable(name: str) -> str:
    """The name as valid Unicode: bytes of a file name that are no UTF-8 become backslash escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
