"""FaceScrub (Ng and Winkler, ICIP 2014): faces of 530 people, given as lists of links with a box for each face.

DIR holds facescrub_actors.txt, facescrub_actresses.txt or both, tab-separated with the columns name, image_id, face_id,
url, bbox (x1,y1,x2,y2) and sha256 (of the image file), and the images that could still be downloaded, in folders of
whatever depth, either way:

    NNNNN/KEY.jpg with NNNNN.parquet beside the folder or KEY.json in it, found by url: what img2dataset writes with
        --output_format files. It encodes pictures anew unless --disable_all_reencoding True is given, and then no
        SHA-256 is that of the list. --verify_hash '["sha256","sha256"]' leaves out at once what has changed.
    NAME/FILE, NAME with spaces or underscores, where the stem of FILE ends in IMAGE_FACE, or in one of both: 1.jpg,
        Aaron_Eckhart_1.jpeg, Aaron_Eckhart_1_1.png. The two ids count differently; a single number is the one that
        explains more of all files, the image_id in doubt. What lies in a folder `faces` is passed over: there the
        release's script puts its crops.

Without lists, DIR is a folder of cropped faces, with a folder for each person.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from .files import Files, open_files, printable
from .source import Box, Entry, Source

LISTS = {"actors": "facescrub_actors.txt", "actresses": "facescrub_actresses.txt"}
PARTS = ("train", "test", "all")
STUDY = (10, 120)  # people, images of each: the paper's case study
TEST = 0.15  # share of each person's images
COLUMNS = ("name", "image_id", "face_id", "url", "bbox", "sha256")
_BESIDE = (".txt", ".json", ".parquet", ".csv", ".tsv")  # endings of what lies beside images
_FACE = np.dtype([("label", "i4"), ("image", "i8"), ("face", "i8"), ("box", "i4", 4), ("sha256", "S64")])
_LOOSE = -1  # label of a cropped face in nobody's folder


class FaceScrub(Source):
    """The faces of the lists whose image is there, cropped to the box; or cropped faces in a folder for each person.

    `margin` is the share of the box's size that is added on each side. `people` with at least `images` images each, and
    so many of each, are chosen by `seed`; `study`=S is people=10,images=120,seed=S. `part` is 15 % of each person's
    images, the rest, or all: train where something is chosen, else all. Options are as texts, empty where not given.
    Raises `SourceError` where no face or not enough of them are found.
    """

    def __init__(
        self,
        place: str,
        margin: float = 0.0,
        lists: str = "both",
        people: str = "",
        images: str = "",
        seed: str = "",
        study: str = "",
        part: str = "",
    ) -> None:
        if lists not in (*LISTS, "both"):
            raise SourceError(f"FaceScrub has no lists={lists}; choose from both, {', '.join(LISTS)}")
        if not 0 <= margin < math.inf:
            raise SourceError(f"a margin is a share of the box's size, 0 or more, not {margin}")
        self._choice = choice = _choice(people, images, seed, study, part)
        self._margin, self._lists = Fraction(str(margin)), lists
        self._files = open_files(place)
        names = self._files.names()
        self._faces, remarks = _find_faces(self._files, names, lists)
        if margin and not self._faces.listed:
            raise SourceError(f"{self._files.root} holds cropped faces and no list of boxes; leave out the margin")
        self.remarks = (*self._files.remarks, *remarks)
        self._numbers = choice.of(self._faces, self._files.root)
        labels = self._faces.table["label"][self._numbers]
        kept = np.unique(labels[labels >= 0]) if choice.people or choice.images else np.arange(len(self._faces.people))
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
        if row["label"] == _LOOSE:
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
            raise RejectedImage("is not the file of the list: its SHA-256 differs")
        return data


@dataclass(frozen=True)
class _Faces:
    """All faces with a file, by person, image id and face id, or by path."""

    people: list[str]  # names, sorted
    table: NDArray[np.void]  # of _FACE
    paths: list[str]
    listed: bool  # by the release, so that ids, boxes and sums mean something

    def name(self, number: int) -> str:
        if not self.listed:
            return printable(self.paths[number])
        row = self.table[number]
        return f"{self.people[row['label']].replace(' ', '_')}/{row['image']}_{row['face']}"

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Whether there is a person and a box with something in it."""
        left, top, right, bottom = self.table["box"].T
        inside = (np.maximum(left, 0) < right) & (np.maximum(top, 0) < bottom)
        usable: NDArray[np.bool_] = (self.table["label"] != _LOOSE) & (inside | (not self.listed))
        return usable


@dataclass(frozen=True)
class _Choice:
    """Which of the faces. Chances are hashes of the seed and a name: they depend on no order and on no other name."""

    people: int | None
    images: int | None
    seed: int
    part: str

    def __str__(self) -> str:
        """As it stands in a spec."""
        said = {"people": self.people, "images": self.images, "seed": self.seed or None}
        if (self.people, self.images) == STUDY:
            said = {"study": self.seed}
        part = "" if self.part == _usual_part(self.people, self.images) else f",part={self.part}"
        return "".join(f",{name}={value}" for name, value in said.items() if value is not None) + part

    def of(self, faces: _Faces, root: str) -> NDArray[np.int32]:
        """Numbers of the chosen faces, in order."""
        members = defaultdict(list)
        for number in np.flatnonzero(faces.usable).tolist():
            members[int(faces.table["label"][number])].append(number)
        if self.people or self.images:
            members = self._study(members, faces, root)
            chosen = {number for numbers in members.values() for number in numbers}
        else:
            chosen = set(range(len(faces.paths)))  # with those that have a reason, which count as training images
        test = set()
        for numbers in members.values():
            test.update(self._drawn(numbers, round(TEST * len(numbers)), faces.name, "test"))
        chosen = {"train": chosen - test, "test": test, "all": chosen}[self.part]
        if not chosen:
            raise SourceError(f"{root} has no images for part={self.part}: nobody has enough of them")
        return np.array(sorted(chosen), np.int32)

    def _study(self, members: dict[int, list[int]], faces: _Faces, root: str) -> defaultdict[int, list[int]]:
        least = self.images or 1
        eligible = [label for label, numbers in members.items() if len(numbers) >= least]
        wanted = self.people or 1
        if len(eligible) < wanted:
            found = f"{len(eligible)} people with at least {least} images each"
            raise SourceError(f"{root} has {found}, not {wanted}; ask for fewer with people=…,images=…")
        labels = self._drawn(eligible, self.people or len(eligible), faces.people.__getitem__, "people")
        drawn = {label: self._drawn(members[label], self.images, faces.name, "images") for label in labels}
        return defaultdict(list, drawn)

    def _drawn(self, numbers: list[int], count: int | None, name: Callable[[int], str], purpose: str) -> list[int]:
        """`count` of the numbers by chance; None for all."""

        def chance(number: int) -> bytes:
            return hashlib.sha256(f"{self.seed}\0{purpose}\0{name(number)}".encode()).digest()

        return sorted(numbers, key=chance)[:count]


def _choice(people: str, images: str, seed: str, study: str, part: str) -> _Choice:
    if study and (people or images or seed):
        raise SourceError("study=S is people=10,images=120,seed=S; give one or the other")
    if part and part not in PARTS:
        raise SourceError(f"FaceScrub has no part={part}; choose from {', '.join(PARTS)}")
    count, each = STUDY if study else (_whole("people", people), _whole("images", images))
    number = _whole("study", study) if study else _whole("seed", seed)
    return _Choice(count, each, number or 0, part or _usual_part(count, each))


def _usual_part(people: int | None, images: int | None) -> str:
    return "train" if people or images else "all"


def _whole(option: str, text: str) -> int | None:
    if not text:
        return None
    least = 0 if option in ("seed", "study") else 1
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) < least:
        raise SourceError(f"{option}={text}: it must be a whole number, {least} or more")
    return int(text)


def _grown(box: list[int], margin: Fraction) -> Box:
    left, top, right, bottom = box
    across, down = margin * (right - left), margin * (bottom - top)
    far = math.ceil(right + across), math.ceil(bottom + down)
    return max(0, math.floor(left - across)), max(0, math.floor(top - down)), *far


class _Row(NamedTuple):
    """A line of a list."""

    person: str  # as `_person` makes it
    name: str
    image: int
    face: int
    url: str
    box: tuple[int, ...]
    sha256: str


def _find_faces(files: Files, names: list[str], lists: str) -> tuple[_Faces, list[str]]:
    """The faces, and what is remarkable."""
    told = sorted((name for name in names if name.endswith(".txt")), key=lambda name: -name.count("/"))
    there = {which: name for which, base in LISTS.items() for name in told if f"/{name}".endswith(f"/{base}")}
    wanted = [which for which in LISTS if lists in (which, "both")]
    if not there:
        if lists != "both":
            raise SourceError(f"{files.root} lacks {LISTS[lists]}; put the list of the release there")
        return _cropped(files, names), []
    if not any(which in there for which in wanted):
        raise SourceError(f"{files.root} lacks {LISTS[lists]}; leave out lists={lists} or put it there")
    remarks = [f"{LISTS[which]} is not there" for which in wanted if which not in there]
    rows: dict[tuple[str, int, int], _Row] = {}
    for which in wanted:
        if which in there:
            for row in _rows(files, there[which]):
                rows.setdefault((row.person, row.image, row.face), row)
    found = _located(files, names, list(rows.values()))
    if not found:
        form = "DIR/NAME/IMAGE_ID.jpg, or what img2dataset writes with --output_format files"
        raise SourceError(f"{files.root} has no image of the {len(rows)} faces in its lists; the form is {form}")
    if len(found) < len(rows):
        remarks.append(f"{len(rows) - len(found)} of the {len(rows)} faces in the lists have no downloaded image")
    unused = sorted({name for name in names if not name.lower().endswith(_BESIDE)} - {path for _, path in found})
    if unused:
        remarks.append(f"{len(unused)} files belong to no face of the lists, such as {printable(unused[0])}")
    return _listed(found), remarks


def _listed(found: list[tuple[_Row, str]]) -> _Faces:
    shown = {row.person: row.name for row, _ in reversed(found)}
    people = sorted(shown.values())
    label = {person: people.index(name) for person, name in shown.items()}
    found = sorted(found, key=lambda pair: (label[pair[0].person], pair[0].image, pair[0].face))
    table = np.array([(label[row.person], row.image, row.face, row.box, row.sha256) for row, _ in found], _FACE)
    return _Faces(people, table, [path for _, path in found], listed=True)


def _cropped(files: Files, names: list[str]) -> _Faces:
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    if not folders:
        form = f"{' and '.join(LISTS.values())} with the images, or a folder of cropped faces for each person"
        raise SourceError(f"{files.root} holds no FaceScrub: it needs {form}")
    label = {folder: number for number, folder in enumerate(folders)}
    table = np.zeros(len(names), _FACE)
    table["label"] = [label[name.split("/")[0]] if "/" in name else _LOOSE for name in names]
    return _Faces([printable(folder) for folder in folders], table, names, listed=False)


def _rows(files: Files, name: str) -> Iterator[_Row]:
    try:
        text = files.read(name).decode("utf-8-sig", "backslashreplace")
    except RejectedImage as reason:
        raise SourceError(f"{files.root}: {name}: {reason}") from None
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.strip("\r").split("\t")
        if not line.strip() or tuple(fields) == COLUMNS:
            continue
        try:
            person, image, face, url, bbox, *sha256 = (field.strip() for field in fields)
            box, digest = tuple(map(int, bbox.split(","))), "".join(sha256).lower()
            row = _Row(_person(person), person, int(image), int(face), url, box, digest)
            fits = len(box) == 4 and all(abs(each) < 2**31 for each in (*box, row.image, row.face))
            if not (person and fits and len(sha256) <= 1 and re.fullmatch("([0-9a-f]{64})?", digest)):
                raise ValueError
            yield row
        except ValueError:
            form = ", ".join(COLUMNS)
            raise SourceError(f"{files.root}: {name}, line {number} is not {form}, with tabs between them") from None


def _located(files: Files, names: list[str], rows: list[_Row]) -> list[tuple[_Row, str]]:
    """The rows whose image is there, with its path."""
    by_url = dict(_downloaded(files, names))
    by_ids = _named(names, rows)
    paths = (by_url.get(row.url) or by_ids.get((row.person, row.image, row.face)) for row in rows)
    return [(row, path) for row, path in zip(rows, paths, strict=True) if path]


def _named(names: list[str], rows: list[_Row]) -> dict[tuple[str, int, int], str]:
    """Paths by person, image id and face id, from the folders of people."""
    people = {row.person for row in rows}
    pairs: dict[tuple[str, int, int], str] = {}
    single: dict[tuple[str, int], str] = {}
    known = {(row.person, row.image, row.face) for row in rows}
    for name in names:
        *above, folder, file = ["", *name.split("/")]
        ids = re.search(r"(?:^|[_ -])(?:([0-9]{1,18})[_ -])?([0-9]{1,18})(?:\.[A-Za-z0-9]{1,5})?$", file)
        if (person := _person(folder)) not in people or "faces" in above or not ids:
            continue
        pair = (person, int(ids[1] or 0), int(ids[2]))
        if pair in known:
            pairs.setdefault(pair, name)
        else:
            single.setdefault((person, int(ids[2])), name)
    by_image = sum((person, image) in single for person, image in {key[:2] for key in known})
    by_face = sum((person, face) in single for person, _, face in known)
    images = by_image >= by_face
    found = ((key, pairs.get(key) or single.get((key[0], key[1] if images else key[2]))) for key in known)
    return {key: path for key, path in found if path}


def _downloaded(files: Files, names: list[str]) -> Iterator[tuple[str, str]]:
    """(url, path) of what img2dataset wrote."""
    shards: dict[str, dict[str, str]] = defaultdict(dict)  # folder → path without its end → path
    for name in names:
        folder = name.rpartition("/")[0]
        if re.fullmatch(r"[0-9]+", folder.rpartition("/")[2]) and not name.endswith(_BESIDE):
            shards[folder][name.rpartition(".")[0]] = name
    there = set(names)
    for folder, paths in shards.items():
        links = _parquet(files, f"{folder}.parquet") if f"{folder}.parquet" in there else None
        if links is None:  # the shard was not finished
            links = ((key, _url(files, f"{key}.json")) for key in paths if f"{key}.json" in there)
        else:
            links = ((f"{folder}/{key}", url) for key, url in links)
        yield from ((url.strip(), paths[key]) for key, url in links if url and key in paths)


def _parquet(files: Files, name: str) -> Iterable[tuple[str, str]] | None:
    """Keys and links of a shard; None where the table has no end, as of a shard that was not finished."""
    import pyarrow
    from pyarrow import parquet

    try:
        with files.open(name) as file:
            table = parquet.read_table(file, columns=["key", "url"])
    except (RejectedImage, pyarrow.ArrowException, OSError):
        return None
    return zip(*(table[column].to_pylist() for column in ("key", "url")), strict=True)


def _url(files: Files, name: str) -> str:
    try:
        return str(json.loads(files.read(name))["url"])
    except (RejectedImage, ValueError, LookupError, TypeError):
        return ""  # cut off with the download; its image counts as not downloaded


def _person(name: str) -> str:
    """The same for all spellings of a name that folders have."""
    return unicodedata.normalize("NFC", name).casefold().strip().replace(" ", "_")
