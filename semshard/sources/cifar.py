"""CIFAR-10 and CIFAR-100 as their python batches (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

The batches are pickles, and a pickle runs code. torchvision reads them after it has compared all of them with its
table of MD5 sums, and the archive is compared before it is unpacked.
"""

from __future__ import annotations

import copy
import hashlib
import tarfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .files import local_path, printable
from .source import Entry, Source

SPLITS = {"train": (True,), "test": (False,), "all": (True, False)}  # as torchvision's `train`
_FORM = "write {kind}:DIR, with the folder {folder} in DIR, or {kind}:{archive}"


class Cifar(Source):
    """`place` holds the folder of the batches, is that folder, or is the tar.gz as downloaded; `classes` is 10 or 100.

    Labels are the fine ones. All pixels of the split stay in memory, 3 KB per image. Raises `SourceError` where a
    batch is missing or is not the published one.
    """

    pixels_in_parts = True

    def __init__(self, place: str, classes: int, split: str = "train") -> None:
        self._kind, self._split = f"cifar{classes}", split
        if split not in SPLITS:
            raise SourceError(f"{self._kind} has no split {split!r}; choose from {', '.join(SPLITS)}")
        path = local_path(place)
        if path is None:
            raise SourceError(f"{self._kind} is read from this machine's disk; copy {place} to it first")
        self._path = Path(path).absolute()
        parts = _load(self._kind, self._path, SPLITS[split])
        self.classes = tuple(parts[0].classes)
        self._pixels = [np.asarray(part.data, np.uint8) for part in parts]  # (n, 32, 32, 3) each
        self._labels = [np.asarray(part.targets, np.uint8) for part in parts]
        self._first = len(self._labels[0])  # images of the first split
        self._chosen: list[int] | None = None  # of a part: the numbers of its images in the whole

    @property
    def spec(self) -> str:
        return f"{self._kind}:{printable(str(self._path))}" + (
            f",split={self._split}" if self._split != "train" else ""
        )

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for number in range(len(self)):
            digest.update(repr(self.entry(number)).encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return sum(map(len, self._labels))

    def entry(self, number: int) -> Entry:
        part, index = self._place(number)
        whole = number if self._chosen is None else self._chosen[number]
        second = whole >= self._first
        name = "train" if SPLITS[self._split][second] else "test"
        return Entry(f"{name}/{whole - second * self._first:05d}", int(self._labels[part][index]))

    def read(self, number: int) -> NDArray[np.uint8]:
        """Pixels (32, 32, 3) RGB."""
        part, index = self._place(number)
        return np.ascontiguousarray(self._pixels[part][index])

    def part(self, numbers: Sequence[int]) -> Cifar:
        """With the pixels, 3 KB per image."""
        part, places = copy.copy(self), [self._place(number) for number in numbers]
        part._pixels = [np.stack([self._pixels[split][index] for split, index in places])] if places else []
        part._labels = [np.array([self._labels[split][index] for split, index in places], np.uint8)]
        part._chosen = [number if self._chosen is None else self._chosen[number] for number in numbers]
        return part

    def _place(self, number: int) -> tuple[int, int]:
        """Which part, and the index in it."""
        first = len(self._labels[0])
        return (0, number) if number < first else (1, number - first)


def _load(kind: str, path: Path, splits: tuple[bool, ...]) -> list[Any]:
    """torchvision's data sets, one for each of `splits`."""
    from torchvision.datasets import CIFAR10, CIFAR100

    dataset = {"cifar10": CIFAR10, "cifar100": CIFAR100}[kind]
    form = _FORM.format(kind=kind, folder=dataset.base_folder, archive=dataset.filename)
    if path.is_dir():
        if (folder := _folder(dataset, path)) is not None:
            return [_read(dataset, folder, train, form) for train in splits]
        path = path / dataset.filename
    if not path.is_file():
        raise SourceError(f"there is no {kind} at {path.parent if path.name == dataset.filename else path}; {form}")
    with TemporaryDirectory(prefix="semshard-") as unpacked:
        _unpack(dataset, path, unpacked, form)
        return [_read(dataset, Path(unpacked, dataset.base_folder), train, form) for train in splits]


def _folder(dataset: Any, path: Path) -> Path | None:
    """The folder of the batches: below `path`, or `path` under whatever name."""
    below: Path = path / dataset.base_folder
    if below.is_dir():
        return below
    return path if any((path / name).exists() for name, _ in _files(dataset)) else None


def published_files(kind: str, place: str) -> tuple[str, list[tuple[str, str]]]:
    """Where the files of CIFAR-10 or CIFAR-100 are looked for, and of each its name and whether it is right, missing
    or wrong, by its MD5. Nothing is unpickled or unpacked.
    """
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import check_integrity

    dataset: Any = {"cifar10": CIFAR10, "cifar100": CIFAR100}[kind]
    path = Path(place)
    folder, files = _folder(dataset, path) if path.is_dir() else None, _files(dataset)
    archive = path / dataset.filename if path.is_dir() else path
    if folder is None and archive.is_file():
        folder, files = archive.parent, [(archive.name, dataset.tgz_md5)]
    folder = folder or path

    def state(name: str, md5: str) -> str:
        if not (folder / name).is_file():
            return "missing"
        return "right" if check_integrity(folder / name, md5) else "wrong"

    return printable(str(folder)), [(name, state(name, md5)) for name, md5 in files]


def _read(dataset: Any, folder: Path, train: bool, form: str) -> Any:
    """All of one split; no pickle is opened before torchvision has checked the MD5 sums of all batches."""
    here = type(dataset.__name__, (dataset,), {"base_folder": ""})  # so that the folder may have any name
    try:
        return here(folder, train=train)
    except RuntimeError as error:
        raise SourceError(f"{_wrong(dataset, folder) or error}; {form}") from None
    except OSError as error:
        raise SourceError(f"cannot read the batches in {folder}: {error.strerror}") from None


def _wrong(dataset: Any, folder: Path) -> str:
    """The first file that is missing or differs."""
    from torchvision.datasets.utils import check_integrity

    for name, md5 in _files(dataset):
        if not (folder / name).is_file():
            return f"{folder} lacks {name}"
        if not check_integrity(folder / name, md5):
            return f"{folder / name} is not the published file: its MD5 differs from {md5}"
    return ""


def _files(dataset: Any) -> list[tuple[str, str]]:
    """Names and MD5 sums of all that torchvision opens."""
    return [*map(tuple, dataset.train_list + dataset.test_list), (dataset.meta["filename"], dataset.meta["md5"])]


def _unpack(dataset: Any, archive: Path, folder: str, form: str) -> None:
    try:
        with archive.open("rb") as file:  # opened once, so that what was checked is what is unpacked
            if hashlib.file_digest(file, _md5).hexdigest() != dataset.tgz_md5:
                wrong = f"{archive} is not {dataset.filename} as published: its MD5 differs from {dataset.tgz_md5}"
                raise SourceError(f"{wrong}; download it again, or {form}")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:gz") as tar:
                tar.extractall(folder, filter="data")
    except OSError as error:
        raise SourceError(f"cannot unpack {archive}: {error.strerror or error}") from None


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)  # no other sum was published; some builds of Python refuse MD5 otherwise
