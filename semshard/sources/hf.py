"""Hugging Face datasets, streamed: only the rows that are read are downloaded from the hub.

    hf:PATH_OR_NAME[,split=NAME][,image=COLUMN][,label=COLUMN]

A stream has no random access, and the surrogate's training needs rows in any order. So one pass over the stream
appends every encoded picture, as it is, to a temporary file without a name, which disappears with the process (TMPDIR
says where it is); an array of offsets gives the place of each picture. Pixels are never decoded here.

The library: https://huggingface.co/docs/datasets/stream. It is an extra: pip install 'semshard[hf]'.
"""

from __future__ import annotations

import copy
import errno
import os
import re
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from .source import Entry, Source
from .tars import first_line
from .wds import classes_of, digest_of, label_text

TRAIN = "train"
_ARCHIVES = {"zip", "tar", "gzip", "bz2", "xz", "zstd", "lz4"}  # what fsspec opens a file in
_NO_PICTURE = "has no picture"
_NO_LABEL = "has no label"
_ODD_LABEL = "its label is neither an integer nor a text"
_UNKNOWN_LABEL = "its label is none of the dataset's classes"


class HuggingFace(Source):
    """The rows of one split of a dataset, in its order; their names are SPLIT/NUMBER.

    `place`: a folder that `load_dataset` understands (images in class folders, Parquet, …), one that `save_to_disk`
    wrote, or a name on the hub. `image`: the only column of pictures, if not given. `label`: a column of ClassLabel,
    integers or text. Raises `SourceError` where the library is missing, or fails.
    """

    def __init__(self, place: str, split: str = "", image: str = "", label: str = "") -> None:
        options = {"split": split, "image": image, "label": label}
        dataset = os.path.abspath(place) if os.path.isdir(place) else place
        self._spec = f"hf:{dataset}" + "".join(f",{name}={value}" for name, value in options.items() if value)
        self._place, self._split = place, split or TRAIN
        self.folders = (os.path.abspath(place),) if os.path.isdir(place) else ()
        self._spool = Spool()
        self._ends = array("q")
        self._starts: NDArray[np.int64] | None = None  # of a part, which has gaps between its pictures
        self._chosen: list[int] | None = None  # of a part: the numbers of its rows in the whole
        self._reasons: dict[int, str] = {}
        library = _library()
        with _without_bars(library), _as_source_errors(self._spec):
            rows = _open(library, place, split)
            self._index(library, rows, image, label)
        self._digest = digest_of(self.entry(number) for number in range(len(self)))

    @property
    def spec(self) -> str:
        return self._spec

    @property
    def digest(self) -> str:
        return self._digest

    def __len__(self) -> int:
        return len(self._ends)

    def entry(self, number: int) -> Entry:
        label = int(self._labels[number])
        name = f"{self._split}/{number if self._chosen is None else self._chosen[number]:07d}"
        return Entry(name, label if label >= 0 else None, self._reasons.get(number, ""))

    def read(self, number: int) -> bytes:
        start = self._start(number)
        size = self._ends[number] - start
        if not size:
            raise RejectedImage(self._reasons.get(number, _NO_PICTURE))
        data = self._spool.read(size, start)
        if len(data) != size:
            raise RejectedImage("was cut off in the temporary file")
        return data

    def part(self, numbers: Sequence[int]) -> HuggingFace | None:
        if not self._spool.is_shared:
            return None
        part = copy.copy(self)
        part._starts = np.array([self._start(number) for number in numbers], np.int64)
        part._ends = array("q", [self._ends[number] for number in numbers])
        part._labels = self._labels[list(numbers)]
        part._reasons = {n: self._reasons[number] for n, number in enumerate(numbers) if number in self._reasons}
        part._chosen = [number if self._chosen is None else self._chosen[number] for number in numbers]
        return part

    def _start(self, number: int) -> int:
        """Where its picture begins in the temporary file."""
        if self._starts is not None:
            return int(self._starts[number])
        return self._ends[number - 1] if number else 0

    def _index(self, library: Any, rows: Any, image: str, label: str) -> None:
        features = rows.features or dict.fromkeys(next(iter(rows), {}))
        image = image or _only_picture(library, features, self._spec)
        label = label or "label"
        for option, column in (("image", image), ("label", label)):
            if column not in features:
                columns = ", ".join(features) or "none"
                raise SourceError(
                    f"{self._spec} has no column {column!r}, only: {columns}; choose with {option}=COLUMN"
                )
        names = getattr(features[label], "names", None)  # of a ClassLabel
        rows = rows.select_columns([image, label]).cast_column(image, library.Image(decode=False))
        texts: dict[str, int] = {}
        labels = array("i")
        for row in rows:
            text, reason = _label(row[label], names)
            try:
                self._spool.write(self._picture(row[image]))
            except RejectedImage as rejected:
                reason = str(rejected)
            if reason:
                self._reasons[len(self._ends)] = reason
            labels.append(-1 if reason else texts.setdefault(text, len(texts)))
            self._ends.append(self._spool.tell())
        if not len(self):
            raise SourceError(f"{self._spec} holds no rows")
        self._spool.flush()
        self.classes, numbers = classes_of(list(texts), names or ())
        self._labels = np.append(numbers, np.int32(-1))[np.frombuffer(labels, np.int32)]

    def _picture(self, value: Any) -> bytes:
        """The encoded picture that a row holds or points to. Raises `RejectedImage` where there is none."""
        if not isinstance(value, dict) or not (value.get("bytes") or value.get("path")):
            raise RejectedImage(_NO_PICTURE)
        if value.get("bytes"):
            return bytes(value["bytes"])
        path = str(value["path"])
        if not belongs(path, self._place):
            raise RejectedImage("its picture lies outside the dataset")
        import fsspec

        try:
            with fsspec.open(path, "rb") as file:
                data = bytes(file.read())
        except Exception as error:  # every file system has errors of its own
            raise RejectedImage(f"cannot be read: {first_line(error)}") from None
        if not data:
            raise RejectedImage("is empty")
        return data


class Spool:
    """A temporary file without a name, which is gone with the process that made it. In another process it is that file,
    opened by its descriptor there, for as long as it lives.
    """

    def __init__(self, path: str = "") -> None:
        # It lives as long as the source, and no longer.
        self._file = open(path, "rb") if path else tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        self._path = path or f"/proc/{os.getpid()}/fd/{self._file.fileno()}"

    def __reduce__(self) -> tuple[type[Spool], tuple[str]]:
        return Spool, (self._path,)

    @property
    def is_shared(self) -> bool:
        """Whether the system lets other processes open it."""
        return os.path.exists(self._path)

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def read(self, size: int, start: int) -> bytes:
        """For any thread."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, start)
        with self._lock:  # Windows
            self._file.seek(start)
            return self._file.read(size)


def belongs(path: str, place: str) -> bool:
    """Whether a picture's path is in the dataset: a downloaded table must not name other files of the owner."""
    *archives, last = path.split("::")
    if any(archive.split("://")[0] not in _ARCHIVES for archive in archives):
        return False
    if os.path.isdir(place):
        return "://" not in last and os.path.abspath(last).startswith(os.path.join(os.path.abspath(place), ""))
    repository = re.match("hf://datasets/([^@]+)@", last)  # under the name it has now, its owner's in front
    return repository is not None and repository[1].split("/")[-1].lower() == place.split("/")[-1].lower()


def _library() -> Any:
    try:
        return import_module("datasets")
    except ImportError as error:
        raise SourceError(f"hf: needs the library datasets ({error}): pip install 'semshard[hf]'") from None


def _open(library: Any, place: str, split: str) -> Any:
    """The rows of a split: a Dataset on disk, or a stream."""
    files = set(os.listdir(place)) if os.path.isdir(place) else set()
    if "dataset_dict.json" in files:
        saved = library.load_from_disk(os.path.abspath(place))
        if (split or TRAIN) not in saved:
            raise SourceError(
                f"{place} has no split {split or TRAIN!r}, only: {', '.join(saved)}; choose with split=NAME"
            )
        return saved[split or TRAIN]
    if {"state.json", "dataset_info.json"} <= files:
        if split:
            raise SourceError(f"{place} was saved as one split; leave out split={split}")
        return library.load_from_disk(os.path.abspath(place))
    return library.load_dataset(os.path.abspath(place) if files else place, split=split or TRAIN, streaming=True)


def _only_picture(library: Any, features: Mapping[str, Any], spec: str) -> str:
    pictures = [name for name, feature in features.items() if isinstance(feature, library.Image)]
    if len(pictures) == 1:
        return pictures[0]
    columns = f"several columns of pictures: {', '.join(pictures)}" if pictures else "no column of type Image"
    raise SourceError(f"{spec} has {columns}; choose with image=COLUMN, of: {', '.join(features)}")


def _label(value: object, names: Sequence[str] | None) -> tuple[str, str]:
    """Text of a label, and the reason why it cannot be used. `names`: of a ClassLabel, whose −1 stands for none."""
    if value is None or (names and value == -1):
        return "", _NO_LABEL
    text = label_text(value)
    if names and not (isinstance(value, int) and 0 <= value < len(names)):
        return "", _UNKNOWN_LABEL
    return text or "", _ODD_LABEL if text is None else "" if text else _NO_LABEL


@contextmanager
def _without_bars(library: Any) -> Iterator[None]:
    """Without the library's progress bars, as semshard has its own."""
    shown = not library.utils.are_progress_bars_disabled()
    library.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            library.enable_progress_bars()


@contextmanager
def _as_source_errors(spec: str) -> Iterator[None]:
    """Every error of the library as a `SourceError`."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise SourceError(
                f"{spec} does not fit into {tempfile.gettempdir()}; set TMPDIR to a larger place"
            ) from None
        raise SourceError(f"{spec} cannot be opened: {first_line(error)}") from None
