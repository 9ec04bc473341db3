"""WebDataset shards: tars of samples, a sample being consecutive files with one name up to the first dot.

    wds:PLACE[,image=EXT+EXT…][,label=cls|EXT|json:NAME]

PLACE is a tar, local or of any kind that fsspec knows, with brace ranges, `*` and `?`; "::" joins several. While
indexing only labels are read. Pictures and other fields are read later, by their place in the tar, which is why a
compressed tar is refused. One input tar is one output shard.

The form: https://github.com/webdataset/webdataset, "The WebDataset Format".
"""

from __future__ import annotations

import bisect
import copy
import hashlib
import json
import os
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from .source import Entry, Location, Reader, Source
from .tar_reader import ABOUT, TarReader, address, has_address, is_ours
from .tars import EXTENSION, FIELD_TWICE, UNSAFE, Sample, Tar, absolute, expand, samples

PICTURES = ("png", "jpg", "jpeg", "webp", "ppm", "pgm", "bmp", "tiff", "tif", "gif")
LONGEST_LABEL = 1000  # characters
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NO_IMAGE = "has no image field"
_NO_LABEL = "has no label"
_ODD_LABEL = "its label cannot be read"
_KEY_TWICE = "its key occurs twice"
_FAULTS = (
    "",
    _NO_IMAGE,
    _NO_LABEL,
    _ODD_LABEL,
    _KEY_TWICE,
    FIELD_TWICE,
    UNSAFE,
)  # a sample stores the number of its fault


class WebDatasetShards(Source):
    """The samples of WebDataset tars, in the order of the tars and in them; their names are TAR/KEY.

    `image`: extensions joined by "+", the first that a sample has is its picture. `label`: the extension of a text
    field, or json:NAME. Labels are integers or text. Raises `SourceError` where a tar is missing, broken or cut short.
    """

    def __init__(self, place: str, image: str = "", label: str = "") -> None:
        self._images = _image_extensions(image)
        self._label_field, self._label_key = _label_option(label or "cls")
        self._tars = expand(place)
        options = {"image": image, "label": label}
        self._spec = f"wds:{absolute(place)}" + "".join(f",{name}={value}" for name, value in options.items() if value)
        self.folders = tuple(sorted({tar.folder for tar in self._tars if tar.folder}))
        self._manifests = {folder: _manifest_classes(folder) for folder in self.folders}
        self._keys, self._key_ends, self._faults = bytearray(), array("q"), array("B")
        self._pictures = array("q")  # offset and size, in turn
        self._field_ends, self._field_kinds, self._fields = array("q"), array("i"), array("q")  # the last as _pictures
        self._kinds: dict[str, int] = {}  # extension → number
        self._ends: list[int] = []  # of each tar
        self._index()
        self._digest = digest_of(self.entry(number) for number in range(len(self)))

    @property
    def spec(self) -> str:
        return self._spec

    @property
    def digest(self) -> str:
        return self._digest

    @property
    def shards(self) -> list[range]:
        return [range(start, end) for start, end in zip([0, *self._ends], self._ends, strict=False)]

    def __len__(self) -> int:
        return len(self._faults)

    def entry(self, number: int) -> Entry:
        key = self._keys[self._between(self._key_ends, number)].decode()
        label = int(self._labels[number])
        return Entry(f"{self._tar(number).name}/{key}", label if label >= 0 else None, _FAULTS[self._faults[number]])

    def read(self, number: int) -> bytes:
        if self._faults[number]:
            raise RejectedImage(_FAULTS[self._faults[number]])
        return self._tar(number).read((self._pictures[2 * number], self._pictures[2 * number + 1]))

    def carried(self, number: int) -> dict[str, bytes]:
        """Extension in lower case → bytes: no picture, no label, no .json that semshard wrote.

        A .json with the label in it is carried, as it holds more than the label. Raises `RejectedImage` as `read` does.
        """
        tar, extensions, carried = self._tar(number), list(self._kinds), {}
        fields = self._between(self._field_ends, number)
        for i in range(fields.start, fields.stop):
            extension, data = extensions[self._field_kinds[i]], tar.read((self._fields[2 * i], self._fields[2 * i + 1]))
            if extension not in ABOUT or not self._is_ours(data, tar):
                carried[extension] = data
        return carried

    def part(self, numbers: Sequence[int]) -> WebDatasetShards | None:
        if not all(tar.is_shared for tar in self._tars):
            return None
        part = copy.copy(self)
        part._tars, part._ends = [], []
        part._keys, part._key_ends, part._faults = bytearray(), array("q"), array("B")
        part._pictures, part._field_ends = array("q"), array("q")
        part._field_kinds, part._fields = array("i"), array("q")
        part._labels = self._labels[list(numbers)]
        for number in numbers:
            part._copy(self, number)
        return part

    def reader(self) -> Reader | None:
        if not all(map(has_address, self._tars)):
            return None
        return TarReader([folder for folder, classes in self._manifests.items() if classes])

    def location(self, number: int) -> Location:
        extensions, fields = list(self._kinds), self._between(self._field_ends, number)
        more: dict[str, Any] = {}
        if fields.start < fields.stop:
            places = ((i, self._fields[2 * i : 2 * i + 2].tolist()) for i in range(fields.start, fields.stop))
            more["fields"] = {extensions[self._field_kinds[i]]: place for i, place in places}
        if self._faults[number]:
            more["fault"] = _FAULTS[self._faults[number]]
        offset, size = self._pictures[2 * number], self._pictures[2 * number + 1]
        return Location(address(self._tar(number)), offset, size, more)

    def _copy(self, whole: WebDatasetShards, number: int) -> None:
        """Append a sample of another such source."""
        tar, keys = whole._tar(number), whole._between(whole._key_ends, number)
        if not self._tars or self._tars[-1] is not tar:
            self._tars.append(tar)
            self._ends.append(len(self))
        self._keys += whole._keys[keys]
        self._key_ends.append(len(self._keys))
        self._pictures.extend(whole._pictures[2 * number : 2 * number + 2])
        fields = whole._between(whole._field_ends, number)
        self._field_kinds.extend(whole._field_kinds[fields])
        self._fields.extend(whole._fields[2 * fields.start : 2 * fields.stop])
        self._field_ends.append(len(self._field_kinds))
        self._faults.append(whole._faults[number])
        self._ends[-1] = len(self)

    def _between(self, ends: array[int], number: int) -> slice:
        """What belongs to a sample, by where that of each sample ends."""
        return slice(ends[number - 1] if number else 0, ends[number])

    def _tar(self, number: int) -> Tar:
        return self._tars[bisect.bisect_right(self._ends, number)]

    def _index(self) -> None:
        reads, left_out, fields = {self._label_field, *ABOUT}, Counter[str](), set[str]()
        texts, labels = dict[str, int](), array("i")  # label → number of its first occurrence, or −1
        for tar in self._tars:
            keys = set[str]()
            for place, sample in enumerate(samples(tar, reads, left_out)):
                text = self._add(sample, place, twice=sample.key in keys)
                keys.add(sample.key)
                labels.append(texts.setdefault(text, len(texts)) if text else -1)
                fresh = {n for n in sample.fields.keys() - fields if not self._is_ours(sample.contents.get(n), tar)}
                fields |= fresh
                reads -= fresh - {self._label_field}  # known to be carried: no need to read more of them
            self._ends.append(len(self))
        if not len(self):
            raise SourceError(f"{self._spec} holds no samples; a sample is files like 00017.png and 00017.cls in a tar")
        names = {self._manifests.get(tar.folder, ()) for tar in self._tars if self._label_field == "cls"}
        self.classes, numbers = classes_of(list(texts), names.pop() if len(names) == 1 else ())
        self._labels = np.append(numbers, np.int32(-1))[np.frombuffer(labels, np.int32)]
        self.fields = tuple(sorted(fields))
        self.remarks = tuple(_remarks(self.fields, left_out))

    def _add(self, sample: Sample, place: int, twice: bool) -> str:
        """Append a sample; leaves in it the fields to carry. The text of its label; empty where it is rejected."""
        picture = next((sample.fields.pop(name) for name in self._images if name in sample.fields), None)
        text, unreadable = _label(sample.contents.get(self._label_field), self._label_key)
        if not self._label_key:
            sample.fields.pop(self._label_field, None)
        fault = (_KEY_TWICE if twice else sample.fault) or ("" if picture else _NO_IMAGE) or unreadable
        shown = _shown(sample.key)  # a key has no dot after its last slash, so one with a dot is unique
        self._keys += (f"{shown}.{place}" if twice or shown != sample.key else shown).encode()
        self._key_ends.append(len(self._keys))
        self._pictures.extend(picture or (0, 0))
        self._faults.append(_FAULTS.index(fault))
        for extension, its_place in sample.fields.items():
            self._field_kinds.append(self._kinds.setdefault(extension, len(self._kinds)))
            self._fields.extend(its_place)
        self._field_ends.append(len(self._field_kinds))
        return "" if fault else text

    def _is_ours(self, data: bytes | None, tar: Tar) -> bool:
        return is_ours(data, bool(self._manifests.get(tar.folder)))


def _shown(key: str) -> str:
    """The key as a relative path in valid Unicode."""
    parts = ("%2E%2E" if part == ".." else part for part in key.split("/"))
    return re.sub("^/", "%2F", "/".join(parts)).encode("utf-8", "backslashreplace").decode()


def _label(data: bytes | None, key: str) -> tuple[str, str]:
    """Text of a label, and what is wrong with it."""
    if data is None:
        return "", _NO_LABEL
    try:
        value: object = json.loads(data) if key else data.decode()
    except (ValueError, RecursionError):
        return "", _ODD_LABEL
    if key:
        value = value.get(key) if isinstance(value, dict) else None
    text = "" if value is None else label_text(value)
    return text or "", _ODD_LABEL if text is None else "" if text else _NO_LABEL


def label_text(value: object) -> str | None:
    """An integer or a text as the text that names a class; None for what is neither, or too long for a name."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip().encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LONGEST_LABEL else None


def classes_of(texts: Sequence[str], known: Sequence[str] = ()) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Class names, sorted, and for each label its index. Integers sort as such, and may count the known names."""
    is_numeric = all(_INTEGER.fullmatch(text) for text in texts)
    values: list[Any] = [int(text) for text in texts] if is_numeric else list(texts)
    if known and is_numeric and all(0 <= value < len(known) for value in values):
        return tuple(known), np.array(values, np.int32)
    distinct = sorted(set(values))
    number = {value: i for i, value in enumerate(distinct)}
    return tuple(map(str, distinct)), np.fromiter((number[value] for value in values), np.int32, len(values))


def digest_of(entries: Iterable[Entry]) -> str:
    """SHA-256, in hex, over names, labels, reasons and boxes."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(json.dumps([entry.name, entry.label, entry.reason, entry.box]).encode() + b"\n")
    return digest.hexdigest()


def _image_extensions(option: str) -> tuple[str, ...]:
    extensions = tuple(option.lower().split("+")) if option else PICTURES
    if all(map(EXTENSION.fullmatch, extensions)):
        return extensions
    raise SourceError(f"image={option} is not a list of extensions; write it like image=jpg+png")


def _label_option(option: str) -> tuple[str, str]:
    """(extension of the field that holds the label, name in it if it is JSON)."""
    extension, _, name = option.partition(":")
    if EXTENSION.fullmatch(extension.lower()) and (name if extension.lower() == "json" else option == extension):
        return extension.lower(), name
    raise SourceError(f"label={option} is not a valid field; write label=cls, label=txt or label=json:NAME")


def _manifest_classes(folder: str) -> tuple[str, ...]:
    """The classes in semshard's manifest in a folder; empty where there is none."""
    try:
        with open(os.path.join(folder, "manifest.json"), "rb") as file:
            manifest = json.load(file)
        names = tuple(manifest["classes"]) if manifest["tool"]["name"] == "semshard" else ()
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ()
    return names if all(isinstance(name, str) for name in names) and len(set(names)) == len(names) else ()


def _remarks(carried: Sequence[str], left_out: Counter[str]) -> Iterator[str]:
    if carried:
        shown = ", ".join(carried[:20]) + (f" and {len(carried) - 20} more" if len(carried) > 20 else "")
        yield f"other fields are copied as they are: {shown}; check whether they show the picture"
    if count := left_out["unsafe"]:
        what = "are links, devices, sparse or have an unsafe or too long a name"
        yield f"{count} files in tars {what}: they are left out"
    if count := left_out["loose"]:
        yield f"{count} files in tars belong to no sample: they are left out"
