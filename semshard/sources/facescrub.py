"""FaceScrub (Ng and Winkler, ICIP 2014): faces of 530 people, given as lists of links with a box for each face.

The lists and where images are looked for: `face_lists`. Which people and images are chosen: `face_choice`. Without
lists, DIR is a folder of cropped faces, with a folder for each person.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..errors import RejectedImage, SourceError
from .face_choice import parse_choice
from .face_lists import LISTS, NOBODY, find_faces
from .files import open_files, printable
from .source import Box, Entry, Location, Reader, Source
from .tree_reader import ANOTHER, TreeReader


class FaceScrub(Source):
    """The faces of the lists whose image exists, cropped to the box; or cropped faces in a folder for each person.

    `margin` is the share of the box's size that is added on each side; `choice` are the options of `parse_choice`.
    Raises `SourceError` where there is no face, or not enough of them.
    """

    def __init__(self, place: str, margin: float = 0.0, lists: str = "both", **choice: str) -> None:
        if lists not in (*LISTS, "both"):
            raise SourceError(f"FaceScrub has no lists={lists}; choose from both, {', '.join(LISTS)}")
        if not 0 <= margin < math.inf:
            raise SourceError(f"a margin is a share of the box's size, 0 or more, not {margin}")
        self._choice = parse_choice(**choice)
        self._margin, self._lists = Fraction(str(margin)), lists
        self._files = open_files(place)
        names = self._files.names()
        self._faces, remarks = find_faces(self._files, names, lists)
        if margin and not self._faces.listed:
            raise SourceError(f"{self._files.root} holds cropped faces and no list of boxes; leave out the margin")
        self.remarks = (*self._files.remarks, *remarks)
        self._numbers = self._choice.numbers(self._faces, self._files.root)
        labels = self._faces.table["label"][self._numbers]
        kept = np.unique(labels[labels >= 0]) if self._choice.draws else np.arange(len(self._faces.people))
        self._label = {int(label): place for place, label in enumerate(kept)}
        self.classes = tuple(self._faces.people[label] for label in self._label)

    @property
    def spec(self) -> str:
        lists = f",lists={self._lists}" if self._lists != "both" else ""
        return f"facescrub:{printable(self._files.root)}{lists}{self._choice}"

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for number in range(len(self)):
            digest.update(repr(self.entry(number)).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._numbers)

    def entry(self, number: int) -> Entry:
        face = int(self._numbers[number])
        name, row = self._faces.name(face), self._faces.table[face]
        if row["label"] == NOBODY:
            return Entry(name, None, "not in a person's folder")
        label = self._label[int(row["label"])]
        if not self._faces.listed:
            return Entry(name, label)
        if not self._faces.usable[face]:
            return Entry(name, label, f"its box in the list is empty: {','.join(map(str, row['box']))}")
        return Entry(name, label, box=_grown(row["box"].tolist(), self._margin))

    def read(self, number: int) -> bytes:
        face = int(self._numbers[number])
        data = self._files.read(self._faces.paths[face])
        sha256 = self._faces.table["sha256"][face].decode()
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise RejectedImage(ANOTHER)
        return data

    def part(self, numbers: Sequence[int]) -> FaceScrub | None:
        if not self._files.is_shared:
            return None
        part = copy.copy(self)
        part._faces = self._faces.part(self._numbers[list(numbers)])
        part._numbers = np.arange(len(numbers), dtype=np.int32)
        return part

    def reader(self) -> Reader | None:
        return TreeReader.of(self._files)

    def location(self, number: int) -> Location:
        face = int(self._numbers[number])
        sha256 = self._faces.table["sha256"][face].decode()
        return Location(self._faces.paths[face], more={"sha256": sha256} if sha256 else {})


def _grown(box: list[int], margin: Fraction) -> Box:
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    far = math.ceil(right + across), math.ceil(bottom + down)
    return max(0, math.floor(left - across)), max(0, math.floor(top - down)), *far
