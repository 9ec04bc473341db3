"""The lists of FaceScrub, and the file of each face in them.

DIR holds facescrub_actors.txt, facescrub_actresses.txt or both, tab-separated with the columns name, image_id, face_id,
url, bbox (x1,y1,x2,y2) and sha256 (of the image file), and the images that could still be downloaded, in folders of
whatever depth, either way:

    NNNNN/KEY.jpg with NNNNN.parquet beside the folder or KEY.json in it, matched by url: what img2dataset writes with
        --output_format files. It encodes pictures anew unless --disable_all_reencoding True is given, and then no
        SHA-256 is that of the list. --verify_hash '["sha256","sha256"]' leaves out at once what has changed.
    NAME/FILE, NAME with spaces or underscores, where the stem of FILE ends in IMAGE_FACE, or in one of both: 1.jpg,
        Aaron_Eckhart_1.jpeg, Aaron_Eckhart_1_1.png. The two ids count differently; a single number is the one that
        explains more of all files, the image_id if both explain as many. Files in a folder `faces` are ignored: the
        release's script puts its crops there.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from .files import Files, printable

LISTS = {"actors": "facescrub_actors.txt", "actresses": "facescrub_actresses.txt"}
COLUMNS = ("name", "image_id", "face_id", "url", "bbox", "sha256")
NOBODY = -1  # label of a cropped face in nobody's folder
_BESIDE = (".txt", ".json", ".parquet", ".csv", ".tsv")  # endings of files beside the images
_FACE = np.dtype([("label", "i4"), ("image", "i8"), ("face", "i8"), ("box", "i4", 4), ("sha256", "S64")])


@dataclass(frozen=True)
class Faces:
    """All faces with a file, by person, image id and face id, or by path."""

    people: list[str]  # names, sorted
    table: NDArray[np.void]  # of _FACE
    paths: list[str]
    listed: bool  # by the release, so that ids, boxes and SHA-256 sums have a meaning

    def name(self, number: int) -> str:
        if not self.listed:
            return printable(self.paths[number])
        row = self.table[number]
        return f"{self.people[row['label']].replace(' ', '_')}/{row['image']}_{row['face']}"

    def part(self, numbers: NDArray[np.int32]) -> Faces:
        """Those faces alone."""
        return Faces(self.people, self.table[numbers], [self.paths[number] for number in numbers], self.listed)

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """Of each face whether it has a person and a box that is not empty."""
        left, top, right, bottom = self.table["box"].T
        inside = (np.maximum(left, 0) < right) & (np.maximum(top, 0) < bottom)
        usable: NDArray[np.bool_] = (self.table["label"] != NOBODY) & (inside | (not self.listed))
        return usable


class Row(NamedTuple):
    """A line of a list."""

    person: str  # as `_person` makes it
    name: str
    image: int
    face: int
    url: str
    box: tuple[int, ...]
    sha256: str


def find_faces(files: Files, names: list[str], lists: str) -> tuple[Faces, list[str]]:
    """The faces, and remarks for the owner; `lists` is one of `LISTS`, or both. Raises `SourceError` where none is."""
    lists_found = rows_of_lists(files, names, lists)
    if lists_found is None:
        return _cropped(files, names), []
    rows, absent = lists_found
    remarks, found = [f"{base} is missing" for base in absent], located(files, names, rows)
    if not found:
        form = "DIR/NAME/IMAGE_ID.jpg, or what img2dataset writes with --output_format files"
        raise SourceError(f"{files.root} has no image of the {len(rows)} faces in its lists; the form is {form}")
    if len(found) < len(rows):
        remarks.append(f"{len(rows) - len(found)} of the {len(rows)} faces in the lists have no downloaded image")
    unused = sorted({name for name in names if not name.lower().endswith(_BESIDE)} - {path for _, path in found})
    if unused:
        remarks.append(f"{len(unused)} files belong to no face of the lists, such as {printable(unused[0])}")
    return _listed(found), remarks


def rows_of_lists(files: Files, names: list[str], lists: str) -> tuple[list[Row], list[str]] | None:
    """All faces in the lists, each once, and the lists that are missing; None where there is no list at all.

    Raises `SourceError` where a list that was asked for is missing.
    """
    texts = sorted((name for name in names if name.endswith(".txt")), key=lambda name: -name.count("/"))
    present = {which: name for which, base in LISTS.items() for name in texts if f"/{name}".endswith(f"/{base}")}
    chosen = [which for which in LISTS if lists in (which, "both")]
    if not present:
        if lists != "both":
            raise SourceError(f"{files.root} lacks {LISTS[lists]}; put the list of the release there")
        return None
    if not any(which in present for which in chosen):
        raise SourceError(f"{files.root} lacks {LISTS[lists]}; leave out lists={lists} or put it there")
    rows: dict[tuple[str, int, int], Row] = {}
    for which in chosen:
        if which in present:
            for row in _rows(files, present[which]):
                rows.setdefault((row.person, row.image, row.face), row)
    return list(rows.values()), [LISTS[which] for which in chosen if which not in present]


def _listed(found: list[tuple[Row, str]]) -> Faces:
    shown = {row.person: row.name for row, _ in reversed(found)}
    people = sorted(shown.values())
    label = {person: people.index(name) for person, name in shown.items()}
    found = sorted(found, key=lambda pair: (label[pair[0].person], pair[0].image, pair[0].face))
    table = np.array([(label[row.person], row.image, row.face, row.box, row.sha256) for row, _ in found], _FACE)
    return Faces(people, table, [path for _, path in found], listed=True)


def _cropped(files: Files, names: list[str]) -> Faces:
    folders = sorted({name.split("/")[0] for name in names if "/" in name})
    if not folders:
        form = f"{' and '.join(LISTS.values())} with the images, or a folder of cropped faces for each person"
        raise SourceError(f"{files.root} is not a FaceScrub folder: it needs {form}")
    label = {folder: number for number, folder in enumerate(folders)}
    table = np.zeros(len(names), _FACE)
    table["label"] = [label[name.split("/")[0]] if "/" in name else NOBODY for name in names]
    return Faces([printable(folder) for folder in folders], table, names, listed=False)


def _rows(files: Files, name: str) -> Iterator[Row]:
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
            row = Row(_person(person), person, int(image), int(face), url, box, digest)
            fits = len(box) == 4 and all(abs(each) < 2**31 for each in (*box, row.image, row.face))
            if not (person and fits and len(sha256) <= 1 and re.fullmatch("([0-9a-f]{64})?", digest)):
                raise ValueError
            yield row
        except ValueError:
            form = ", ".join(COLUMNS)
            raise SourceError(f"{files.root}: {name}, line {number} is not {form}, with tabs between them") from None


def located(files: Files, names: list[str], rows: list[Row]) -> list[tuple[Row, str]]:
    """The rows whose image exists, with its path."""
    by_url = dict(_downloaded(files, names))
    by_ids = _named(names, rows)
    paths = (by_url.get(row.url) or by_ids.get((row.person, row.image, row.face)) for row in rows)
    return [(row, path) for row, path in zip(rows, paths, strict=True) if path]


def _named(names: list[str], rows: list[Row]) -> dict[tuple[str, int, int], str]:
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
    paths = ((key, pairs.get(key) or single.get((key[0], key[1] if images else key[2]))) for key in known)
    return {key: path for key, path in paths if path}


def _downloaded(files: Files, names: list[str]) -> Iterator[tuple[str, str]]:
    """(url, path) of what img2dataset wrote."""
    shards: dict[str, dict[str, str]] = defaultdict(dict)  # folder → path without its end → path
    for name in names:
        folder = name.rpartition("/")[0]
        if re.fullmatch(r"[0-9]+", folder.rpartition("/")[2]) and not name.endswith(_BESIDE):
            shards[folder][name.rpartition(".")[0]] = name
    existing = set(names)
    for folder, paths in shards.items():
        links = _parquet(files, f"{folder}.parquet") if f"{folder}.parquet" in existing else None
        if links is None:  # the shard was not finished
            links = ((key, _url(files, f"{key}.json")) for key in paths if f"{key}.json" in existing)
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
        return ""  # incomplete, as the download was; its image counts as not downloaded


def _person(name: str) -> str:
    """One form for all spellings of a name that folders have."""
    return unicodedata.normalize("NFC", name).casefold().strip().replace(" ", "_")
