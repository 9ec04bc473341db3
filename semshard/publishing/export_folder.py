"""Shards as a folder of image files for each class, as torchvision's ImageFolder, timm, Keras and people read them.

These loaders number the classes by sorting the names of the folders. So the folders are named such that sorting them
gives the labels of the shards: by the class where that works and is safe as a file name anywhere, else `LABEL_CLASS`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..atomic import write_json
from ..shards import Shards
from .staging import flush
from .stored import StoredImage, StoredShard

_NOT_IN_NAMES = re.compile(r'[/\\<>:"|?*]')  # on one system or another
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices, on Windows
_PASSED_OVER = (".", "-", "~", " ", "__")  # beginnings of names that some loader or shell does not take for a class
_UNPRINTED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format, surrogate, private, unassigned, separators
_LONGEST = 100  # bytes; file systems take 255


class ClassFolders:
    """FOLDER/KEY.png, and classes.json, which names the class of each folder."""

    def __init__(self, shards: Shards, folder: Path) -> None:
        self._folder, self._classes = folder, shards.classes
        self._names = folder_names(shards.classes)
        for name in self._names:  # also of a class without an image: a missing folder would shift the labels
            (folder / name).mkdir(exist_ok=True)

    def write(self, shard: StoredShard, images: Iterator[StoredImage]) -> dict[str, Any]:
        """The images of a shard as files."""
        files = size = 0
        for each in images:
            path = self._folder / self._names[each.label] / f"{each.key}.{shard.extension}"
            files, size = files + 1, size + path.write_bytes(each.image)
        flush()
        return {"files": files, "bytes": size}

    def finish(self, parts: list[dict[str, Any]]) -> None:
        """The table of classes."""
        rows = [
            {"label": label, "class": name, "folder": folder}
            for label, (name, folder) in enumerate(zip(self._classes, self._names, strict=True))
        ]
        write_json(self._folder / "classes.json", rows)


def folder_names(classes: Sequence[str]) -> list[str]:
    """A name for the folder of each class, such that any usual way of sorting them gives the order of the classes."""
    if all(map(_safe, classes)) and _in_order(classes):
        return list(classes)
    width = len(str(len(classes) - 1))
    return [f"{label:0{width}d}_{_made_safe(name)}".rstrip(". ") for label, name in enumerate(classes)]


def _safe(name: str) -> bool:
    return _made_safe(name) == name != "" and not name.startswith(_PASSED_OVER) and not _RESERVED.fullmatch(name)


def _made_safe(name: str) -> str:
    """The name with _ for what some file system does not take, in the composed form of its letters, and short."""
    name = unicodedata.normalize("NFC", name)
    name = "".join("_" if unicodedata.category(letter) in _UNPRINTED else letter for letter in name)
    name = _NOT_IN_NAMES.sub("_", name).encode()[:_LONGEST].decode(errors="ignore")
    return name.rstrip(". ")


def _in_order(names: Sequence[str]) -> bool:
    """Whether the names stay in this order by letters, by letters without case, and with numbers by their value; and
    are different on a file system without case.
    """
    folded = [name.casefold() for name in names]
    orders = (list(names), folded, [_natural(name) for name in names])
    return len(set(folded)) == len(folded) and all(each == sorted(each) for each in orders)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts 2 before 10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]
