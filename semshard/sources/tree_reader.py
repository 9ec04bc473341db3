"""Reads files of a tree by their names, without listing it: of class folders, of ImageNet, of FaceScrub."""

from __future__ import annotations

import hashlib
from typing import Any

from ..errors import RejectedImage
from .files import Files, open_files
from .source import Location, Reader

ANOTHER = "is not the file of the list: its SHA-256 differs"


class TreeReader(Reader):
    """Locations have the name of the file, and where a list vouches for it, in `more` its `sha256` in hex."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: Files = open_files(root)

    @classmethod
    def of(cls, files: Files) -> TreeReader | None:
        """That of a tree; None where other processes cannot read it."""
        return cls(files.root) if files.is_shared else None

    def read(self, location: Location) -> bytes:
        data = self._files.read(location.file)
        sha256 = location.more.get("sha256")
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise RejectedImage(ANOTHER)
        return data

    def to_json(self) -> dict[str, Any]:
        return {"kind": "tree", "root": self._root}
