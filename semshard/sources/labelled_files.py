"""A source whose inputs are files of a tree, each with a number for a label: what a folder and ImageNet share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .files import Files
from .source import Location, Reader, Source
from .tree_reader import TreeReader


class LabelledFiles(Source):
    """Files by number; a negative label means none."""

    _files: Files
    _names: list[str]  # within the tree
    _labels: NDArray[np.signedinteger[Any]]  # (inputs,)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, number: int) -> bytes:
        return self._files.read(self._names[number])

    def part(self, numbers: Sequence[int]) -> Self | None:
        if not self._files.is_shared:
            return None
        part = copy.copy(self)
        part._names, part._labels = [self._names[number] for number in numbers], self._labels[list(numbers)]
        return part

    def reader(self) -> Reader | None:
        return TreeReader.of(self._files)

    def location(self, number: int) -> Location:
        return Location(self._names[number])
