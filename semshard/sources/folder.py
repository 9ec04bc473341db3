"""A folder of picture files, local or remote: subfolders are classes, or a table names the class of each file."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable

import numpy as np

from ..errors import SourceError
from .files import below, local_path, open_files, printable
from .labelled_files import LabelledFiles
from .labels import class_order, read_labels
from .source import Entry

AUTO = "auto"
_SHOWN = 3  # classes in an error message


class Folder(LabelledFiles):
    """The files below a place, sorted by the bytes of their names.

    `labels` is empty (class folders: every file below one, however deep, belongs to it), "auto" (any tree; nothing is
    labelled here), or the place of a table of paths and labels. Raises `SourceError` where there is no such place,
    where it is not labelled that way, or where there are not at least two classes of two files each.
    """

    def __init__(self, place: str, labels: str = "", path_column: str = "path", label_column: str = "label") -> None:
        self._files = open_files(place)
        self._names = self._files.names()
        self.remarks = self._files.remarks
        self._reasons: tuple[str, ...] = ("",)  # of label -1, -2
        if labels not in ("", AUTO):
            self._label_by_table(labels, path_column, label_column)
        elif self._names and not labels:
            self._label_by_folder()
        else:
            self._label(None for _ in self._names)
        if not self._names:
            raise SourceError(f"{printable(place)} holds no files")
        if labels != AUTO:
            self._check_classes()
        self._digest = self._fingerprint()

    @property
    def spec(self) -> str:
        return self._files.root

    @property
    def digest(self) -> str:
        return self._digest

    def entry(self, number: int) -> Entry:
        name, label = printable(self._names[number]), int(self._labels[number])
        return Entry(name, label) if label >= 0 else Entry(name, None, self._reasons[-1 - label])

    def _label_by_folder(self) -> None:
        if not any("/" in name for name in self._names):
            raise SourceError(
                f"{printable(self.spec)} holds {len(self._names)} files but no class folders; either put the images of"
                " each class into a folder of its own, or name the labels with --labels FILE (CSV, TSV, JSON Lines or"
                f" Parquet with a path and a label column), or try --labels {AUTO} (experimental: groups the images by"
                " appearance)"
            )
        self._reasons = ("not in a class folder",)
        self._label((name.partition("/")[0] if "/" in name else None for name in self._names), _by_bytes)
        self.classes = tuple(printable(name) for name in self.classes)

    def _label_by_table(self, place: str, path_column: str, label_column: str) -> None:
        path, roots = local_path(place), self._files.roots
        spellings = [place] if path is None else [os.path.abspath(path), os.path.realpath(path)]
        own = {below(spelling, roots) for spelling in spellings}  # the table is not a picture
        self._names = [name for name in self._names if name not in own]
        spelt = [name.replace("\\", "/") for name in self._names]  # as `below` has it
        table = read_labels(place, path_column, label_column, roots)
        file = printable(posixpath.basename(place))
        self._reasons = (f"no label in {file}", "label is empty")
        self._label(map(table.get, spelt), class_order)
        missing = table.keys() - spelt
        if missing and len(missing) == len(table) and self._names:
            raise SourceError(
                f"{file} names none of the {len(self._names)} files in {printable(self.spec)}: its paths are like"
                f" {printable(min(missing))}, those in the folder like {printable(self._names[0])}"
            )
        if missing:
            rows = "1 row" if len(missing) == 1 else f"{len(missing)} rows"
            self.remarks += (f"{rows} of {file} without a file, such as {printable(min(missing))}",)

    def _label(self, texts: Iterable[str | None], order: Callable[[Iterable[str]], list[str]] = sorted) -> None:
        """Numbers the classes; None and the empty text are the two ways to have none."""
        codes: dict[str | None, int] = {None: -1, "": -2}
        met = np.fromiter((codes.setdefault(text, len(codes) - 2) for text in texts), np.int32, len(self._names))
        self.classes = tuple(order([text for text in codes if text]))
        number = np.zeros(len(self.classes) + 2, np.int32)
        number[-2:] = (-2, -1)
        for label, text in enumerate(self.classes):
            number[codes[text]] = label
        self._labels = number[met]

    def _check_classes(self) -> None:
        place = printable(self.spec)
        if not self.classes:
            raise SourceError(f"{place} has no labelled file: {self.entry(0).reason}")
        if len(self.classes) == 1:
            raise SourceError(f"{place} holds one class only ({self.classes[0]}); noise needs at least two")
        sizes = np.bincount(self._labels[self._labels >= 0], minlength=len(self.classes))
        small = [self.classes[label] for label in np.flatnonzero(sizes < 2)]
        if small:
            shown = ", ".join(small[:_SHOWN]) + (f" and {len(small) - _SHOWN} more" if len(small) > _SHOWN else "")
            what = "class with one image only" if len(small) == 1 else f"{len(small)} classes with one image only"
            raise SourceError(f"{place} has {what} ({shown}); remove it, or merge it with another")

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        texts = [text.encode() for text in (*self.classes, *reversed(self._reasons))]  # negative labels from the end
        for name, label in zip(self._names, self._labels.tolist(), strict=True):
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + (b"+" if label >= 0 else b"-"))
            digest.update(texts[label] + b"\0")
        return digest.hexdigest()


def _by_bytes(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=os.fsencode)
