"""ImageNet, ILSVRC 2012 (Russakovsky et al. 2015), in its usual layouts, and its first hundred classes.

    DIR/train/WNID/FILE           or DIR/ILSVRC/Data/CLS-LOC/train/WNID/FILE, as Kaggle packs it; or DIR/WNID/FILE
    DIR/val/WNID/FILE             or flat, DIR/val/ILSVRC2012_val_0000NNNN.JPEG, with one of these beside it:
    DIR/ILSVRC2012_devkit_t12/    the devkit, unpacked or as its tar.gz: ground truth and the words of each WNID
    DIR/LOC_val_solution.csv      Kaggle's ground truth, and the words in LOC_synset_mapping.txt

A label is the place of the WNID among all of them in sorted order, which is torchvision's order. Some files of the
release are PNG or CMYK under the name .JPEG, and some have broken EXIF: nothing here reads a picture or the end of its
name, and the decoder accepts them all.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import RejectedImage, SourceError
from .files import Files, open_files, printable
from .labelled_files import LabelledFiles
from .source import Entry

SPLITS = ("train", "val")
ROOTS = ("", "ILSVRC/Data/CLS-LOC/", "Data/CLS-LOC/")  # where train/ and val/ may be
DEVKIT = "ILSVRC2012_devkit_t12"
KNOWN = {  # SHA-256 of the sorted WNIDs, one per line, of ImageNet and of its first hundred classes
    1000: "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd",
    100: "e685f52fed1378fd4f7c3edbc80cf62403ad8fef69c03faef471d8a42c5289df",
}
_WNID = re.compile(r"n[0-9]{8}")
_VALIDATION = re.compile(r"ILSVRC2012_val_([0-9]{8})\b")
_ASTRAY = -1  # label of a file in a place where no image should be
_NOWHERE = "not at WNID/FILE, nor an image of the ground truth"
_META, _TRUTH, _ARCHIVE = "meta.mat", "ILSVRC2012_validation_ground_truth.txt", f"{DEVKIT}.tar.gz"
_SOLUTION, _MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
TABLES = {_META, _TRUTH, _ARCHIVE, _SOLUTION, _MAPPING}


class ImageNet(LabelledFiles):
    """One split of it; `first` = 100 keeps the classes of the first hundred WNIDs, None keeps all.

    Raises `SourceError` where `place` holds neither layout, or a flat val/ without its ground truth.
    """

    def __init__(self, place: str, first: int | None = None, split: str = "train") -> None:
        self._kind, self._split = f"imagenet{first or ''}", split
        if split not in SPLITS:
            raise SourceError(f"{self._kind} has no split {split!r}; choose from {', '.join(SPLITS)}")
        self._files = open_files(place)
        names = self._files.names()
        self.remarks = self._files.remarks
        self._root = self._find(names)
        annotations = read_annotations(self._files, names)
        wnids = self._wnids(names, annotations)
        self.classes = tuple(_described(wnids, annotations.words))[:first]
        left_out = self._keep(names, annotations, wnids[:first])
        if first is None and left_out:
            self.remarks += (f"{left_out} images of classes that are not in train/ are left out",)
        if first and len(wnids) < first:
            self.remarks += (f"there are only {len(wnids)} classes, not {first}",)

    @property
    def spec(self) -> str:
        split = "" if self._split == "train" else f",split={self._split}"
        return f"{self._kind}:{printable(self._files.root)}{split}"

    @cached_property
    def digest(self) -> str:
        digest = hashlib.sha256()
        for number in range(len(self)):
            digest.update(repr(self.entry(number)).encode())
        return digest.hexdigest()

    def entry(self, number: int) -> Entry:
        name, label = printable(self._names[number]), int(self._labels[number])
        return Entry(name, label) if label >= 0 else Entry(name, None, _NOWHERE)

    def _find(self, names: list[str]) -> str:
        """What the names of this split's files start with."""
        here = [root for root in ROOTS if any(name.startswith(f"{root}{split}/") for split in SPLITS for name in names)]
        for root in here:
            if any(name.startswith(f"{root}{self._split}/") for name in names):
                return f"{root}{self._split}/"
        if here:
            raise SourceError(f"{self._files.root} has no {here[0]}{self._split}/; it holds the other split only")
        if not _folders(names, ""):
            form = f"{self._kind}:DIR, with DIR/train/WNID/*.JPEG and DIR/val/, a WNID being like n01440764"
            raise SourceError(f"{self._files.root} is not an ImageNet folder; write {form}")
        if self._split != "train":
            raise SourceError(f"{self._files.root} is itself a folder of WNIDs and has no splits; leave out split=")
        return ""

    def _wnids(self, names: list[str], annotations: Annotations) -> list[str]:
        """All WNIDs there are, in the order of the labels: those of train, so that labels of both splits agree."""
        train = re.sub("val/$", "train/", self._root)
        wnids = _folders(names, train) or annotations.wnids or _folders(names, self._root)
        if wnids:
            return sorted(wnids)
        if any(name.startswith(self._root) and name.endswith(".tar") for name in names):
            what = f"holds tar files; unpack each into a folder named like it, {self._root}WNID/"
        elif self._split == "val":
            what = f"is flat and its ground truth is missing; put {_ARCHIVE} or {_SOLUTION} beside it"
        else:
            what = "has no folder that is named like a WNID, such as n01440764"
        raise SourceError(f"{self._files.root}: {self._root} {what}")

    def _keep(self, names: list[str], annotations: Annotations, wnids: list[str]) -> int:
        """Index what belongs to these classes or to no class at all; how many belong to other classes."""
        number = {wnid: label for label, wnid in enumerate(wnids)}
        self._names, labels, other = [], [], 0
        for name in names:
            if not name.startswith(self._root) or _base(name) in TABLES:
                continue
            wnid = annotations.wnid(name[len(self._root) :])
            if wnid and wnid not in number:
                other += 1
                continue
            self._names.append(name)
            labels.append(number.get(wnid, _ASTRAY))
        self._labels = np.array(labels, np.int16)
        if (self._labels == _ASTRAY).all():
            raise SourceError(f"{self._files.root}: {self._root or 'it'} holds no image of these {len(wnids)} classes")
        return other


@dataclass(frozen=True)
class Annotations:
    """What the tables beside the images say of them."""

    words: dict[str, str] = field(default_factory=dict)  # WNID → "tench, Tinca tinca"
    truth: dict[int, str] = field(default_factory=dict)  # number of a validation image → WNID
    train_images: dict[str, int] = field(default_factory=dict)  # WNID → how many there are; from the devkit only

    @property
    def wnids(self) -> set[str]:
        return {*self.words, *self.truth.values()}

    def wnid(self, name: str) -> str:
        """The class of a file by its name within the split; empty where it has none."""
        folder, slash, file = name.rpartition("/")
        if slash:
            return folder if _WNID.fullmatch(folder) else ""
        numbered = _VALIDATION.match(file)
        return self.truth.get(int(numbered[1]), "") if numbered else ""


def read_annotations(files: Files, names: list[str]) -> Annotations:
    """From the devkit, else from its archive, else from Kaggle's tables; empty where there is none."""
    tables = {base: name for name in names if (base := _base(name)) in TABLES}
    try:
        if _META in tables:
            return _devkit(files.read(tables[_META]), files.read(tables[_TRUTH]) if _TRUTH in tables else b"")
        if _ARCHIVE in tables:
            with files.open(tables[_ARCHIVE]) as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
                meta, truth = (tar.extractfile(f"{DEVKIT}/data/{base}") for base in (_META, _TRUTH))
                return _devkit(meta.read() if meta else b"", truth.read() if truth else b"")
        solution, mapping = (files.read(tables[base]) if base in tables else b"" for base in (_SOLUTION, _MAPPING))
        return _kaggle(solution.decode(), mapping.decode())
    except (
        RejectedImage,
        ValueError,
        LookupError,
        OSError,
        EOFError,
        zlib.error,
        tarfile.TarError,
        csv.Error,
    ) as error:
        where = ", ".join(sorted(tables.values()))
        raise SourceError(f"{files.root}: {where}: cannot be read: {error}; get it from the release again") from error


def _devkit(meta: bytes, truth: bytes) -> Annotations:
    """meta.mat, MATLAB's table of synsets; and the ILSVRC2012_ID of each validation image, one per line."""
    from scipy.io import loadmat  # type: ignore[import-untyped,unused-ignore]

    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"])
        leaves = synsets[synsets["num_children"].astype(int) == 0]  # the others are made of these
        wnids = {int(number): str(wnid) for number, wnid in zip(leaves["ILSVRC2012_ID"], leaves["WNID"], strict=True)}
        words = {str(wnid): str(text) for wnid, text in zip(leaves["WNID"], leaves["words"], strict=True)}
        counts = {str(wnid): int(n) for wnid, n in zip(leaves["WNID"], leaves["num_train_images"], strict=True)}
    except Exception as error:  # whatever scipy and numpy raise on a broken file
        raise ValueError(f"{_META} holds no table of synsets ({error})") from error
    numbers = [int(line) for line in truth.split()]
    if unknown := set(numbers) - set(wnids):
        raise ValueError(f"{_TRUTH} names synset {min(unknown)}, which {_META} lacks")
    return Annotations(words, {image: wnids[number] for image, number in enumerate(numbers, 1)}, counts)


def _kaggle(solution: str, mapping: str) -> Annotations:
    """Rows of an image and "WNID x y x y …", a box for each object; lines of a WNID and its words."""
    lines = (line.strip().partition(" ") for line in mapping.splitlines())
    words = {wnid: text for wnid, _, text in lines if _WNID.fullmatch(wnid)}
    truth = {}
    for row in csv.reader(solution.splitlines()):
        if row and (numbered := _VALIDATION.match(row[0])):
            truth[int(numbered[1])] = row[1].split()[0]
    return Annotations(words, truth)


def _described(wnids: list[str], words: dict[str, str], published: Mapping[int, str] = KNOWN) -> list[str]:
    """Class names: "WNID words", or the WNID alone where its words are unknown.

    Without `words` those of torchvision are used, if these are the WNIDs whose SHA-256 was `published`.
    """
    known = published.get(len(wnids))
    if not words and known == hashlib.sha256("\n".join(wnids).encode()).hexdigest():
        from torchvision.models import ResNet18_Weights

        words = dict(zip(wnids, ResNet18_Weights.DEFAULT.meta["categories"], strict=False))
    return [f"{wnid} {words.get(wnid, '')}".strip() for wnid in wnids]


def _folders(names: Iterable[str], root: str) -> set[str]:
    """The WNIDs that are folders right below `root`."""
    below = (name[len(root) :].split("/", 1) for name in names if name.startswith(root))
    return {parts[0] for parts in below if len(parts) == 2 and _WNID.fullmatch(parts[0])}


def _base(name: str) -> str:
    return name.rpartition("/")[2]
