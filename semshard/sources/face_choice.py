"""Which faces of FaceScrub are taken: people and images drawn by a seed, and a part for training or for testing.

Chances are hashes of the seed and a name: they depend neither on an order nor on any other name.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .face_lists import Faces

PARTS = ("train", "test", "all")
STUDY = (10, 120)  # people, images of each: the paper's case study
TEST = 0.15  # share of each person's images


@dataclass(frozen=True)
class Choice:
    """People with at least `images` images each, so many of each, drawn by `seed`; of these one part."""

    people: int | None
    images: int | None
    seed: int
    part: str

    def __str__(self) -> str:
        """As in a spec."""
        options = {"people": self.people, "images": self.images, "seed": self.seed or None}
        if (self.people, self.images) == STUDY:
            options = {"study": self.seed}
        part = "" if self.part == _usual_part(self.people, self.images) else f",part={self.part}"
        return "".join(f",{name}={value}" for name, value in options.items() if value is not None) + part

    @property
    def draws(self) -> bool:
        """Whether some people or images are drawn, so that others are left out."""
        return bool(self.people or self.images)

    def numbers(self, faces: Faces, root: str) -> NDArray[np.int32]:
        """Numbers of the chosen faces, in order."""
        members = defaultdict(list)
        for number in np.flatnonzero(faces.usable).tolist():
            members[int(faces.table["label"][number])].append(number)
        if self.draws:
            members = self._study(members, faces, root)
            chosen = {number for numbers in members.values() for number in numbers}
        else:
            chosen = set(range(len(faces.paths)))  # rejected ones, too: they count as training images
        test = set()
        for numbers in members.values():
            test.update(self._drawn(numbers, round(TEST * len(numbers)), faces.name, "test"))
        chosen = {"train": chosen - test, "test": test, "all": chosen}[self.part]
        if not chosen:
            raise SourceError(f"{root} has no images for part={self.part}: nobody has enough of them")
        return np.array(sorted(chosen), np.int32)

    def _study(self, members: dict[int, list[int]], faces: Faces, root: str) -> defaultdict[int, list[int]]:
        least = self.images or 1
        eligible = [label for label, numbers in members.items() if len(numbers) >= least]
        needed = self.people or 1
        if len(eligible) < needed:
            available = f"{len(eligible)} people with at least {least} images each"
            raise SourceError(f"{root} has {available}, not {needed}; ask for fewer with people=…,images=…")
        labels = self._drawn(eligible, self.people or len(eligible), faces.people.__getitem__, "people")
        drawn = {label: self._drawn(members[label], self.images, faces.name, "images") for label in labels}
        return defaultdict(list, drawn)

    def _drawn(self, numbers: list[int], count: int | None, name: Callable[[int], str], purpose: str) -> list[int]:
        """`count` of the numbers by chance; None for all."""

        def chance(number: int) -> bytes:
            return hashlib.sha256(f"{self.seed}\0{purpose}\0{name(number)}".encode()).digest()

        return sorted(numbers, key=chance)[:count]


def parse_choice(people: str = "", images: str = "", seed: str = "", study: str = "", part: str = "") -> Choice:
    """The choice that options stand for, as texts, empty where not given; study=S is people=10,images=120,seed=S.

    `part` is 15 % of each person's images (test), the rest (train), or all: train where people or images are drawn,
    else all. Raises `SourceError` for what is not a valid option.
    """
    if study and (people or images or seed):
        raise SourceError("study=S is people=10,images=120,seed=S; give one or the other")
    if part and part not in PARTS:
        raise SourceError(f"FaceScrub has no part={part}; choose from {', '.join(PARTS)}")
    count, each = STUDY if study else (_whole_number("people", people), _whole_number("images", images))
    number = _whole_number("study", study) if study else _whole_number("seed", seed)
    return Choice(count, each, number or 0, part or _usual_part(count, each))


def _usual_part(people: int | None, images: int | None) -> str:
    return "train" if people or images else "all"


def _whole_number(option: str, text: str) -> int | None:
    if not text:
        return None
    least = 0 if option in ("seed", "study") else 1
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < least:
        raise SourceError(f"{option}={text}: it must be a whole number, {least} or more")
    return int(text)
