"""What of a data set's original files is where a source looks for them, and what is missing, found out in seconds.

Names and tables are read, checksums of CIFAR are compared, and a few pictures are decoded; the others are not opened.
The counts that are expected are those of the releases.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SourceError
from .cifar import published_files
from .face_choice import STUDY
from .face_lists import Row, find_faces, located, rows_of_lists
from .files import open_files, printable
from .imagenet import KNOWN, SPLITS, TABLES, Annotations, read_annotations
from .open import SourceOptions, open_source, parse
from .scanning import scan
from .source import Source

SAMPLES = 8  # pictures that are decoded
EXAMPLES = 3  # of what is missing
TRAIN_EACH, VAL_EACH = (732, 1300), 50  # images of a class of ImageNet (Russakovsky et al. 2015)
PEOPLE = 530  # of FaceScrub, half of them in each list
CIFAR = {"train": 50_000, "test": 10_000}


@dataclass(frozen=True)
class Check:
    """One thing that was looked for, what was found, and some of what is missing."""

    what: str
    found: str
    ok: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceCheck:
    """All checks of a source. `ok` says whether nothing is missing."""

    spec: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def check_source(spec: str | Path, options: SourceOptions | None = None) -> SourceCheck:
    """What is there of the source that `spec` names, beside what its data set consists of.

    A folder, tars and a Hugging Face data set have no such list: they are opened, and some of their pictures decoded.
    """
    kind, place, place_options = parse(str(spec))
    look = _OF_KIND.get(kind.name)
    checks = look(kind.name, place, options or SourceOptions()) if look and not place_options else None
    return SourceCheck(str(spec), tuple(checks or _any(str(spec), options)))


def _any(spec: str, options: SourceOptions | None) -> Iterator[Check]:
    """A source of which nothing is known before."""
    try:
        source = open_source(spec, options)
    except SourceError as error:
        yield Check("source", str(error), False)
        return
    yield Check("inputs", f"{len(source):,} in {len(source.classes):,} classes", len(source) > 0)
    yield from (Check("note", remark, True) for remark in source.remarks)
    yield from _decoded("pictures", source)


def _decoded(what: str, source: Source) -> Iterator[Check]:
    """Whether a few pictures, evenly spread, can be used."""
    numbers = np.unique(np.linspace(0, len(source) - 1, min(SAMPLES, len(source))).astype(int)).tolist()
    try:
        rejects: Mapping[int, str] = scan(source, numbers=numbers).rejects
    except SourceError as error:
        yield Check(what, f"none of {len(numbers)} tried can be used: {error}", False)
        return
    wrong = [f"{source.entry(number).name}: {rejects[number]}" for number in sorted(rejects)]
    yield _listed(what, f"{len(numbers) - len(wrong)} of {len(numbers)} tried can be used", wrong)


def _listed(what: str, found: str, missing: Sequence[str]) -> Check:
    """A check that fails where something is missing, with the first examples of it."""
    rest = (f"and {len(missing) - EXAMPLES:,} more",) if len(missing) > EXAMPLES else ()
    return Check(what, found, not missing, (*map(printable, missing[:EXAMPLES]), *rest))


# --- CIFAR -----------------------------------------------------------------------------------------------------------


def _cifar(kind: str, place: str, options: SourceOptions) -> Iterator[Check]:
    """The MD5 sums of all files first: nothing is unpickled unless all are right."""
    where, files = published_files(kind, place)
    missing = [name for name, state in files if state == "missing"]
    wrong = [name for name, state in files if state == "wrong"]
    yield _listed("files", f"{len(files) - len(missing)} of {len(files)} are in {where}", missing)
    right = len(files) - len(missing) - len(wrong)
    yield _listed("checksums", f"{right} of {len(files)} have the published MD5", wrong)
    if missing or wrong:
        return
    for split, expected in CIFAR.items():
        source = open_source(f"{kind}:{place},split={split}")
        found = f"{len(source):,} of {expected:,} in {len(source.classes)} classes"
        yield Check(f"{split} images", found, len(source) == expected)


# --- ImageNet --------------------------------------------------------------------------------------------------------


def _imagenet(kind: str, place: str, options: SourceOptions) -> Iterator[Check]:
    expected = int(kind.removeprefix("imagenet") or 1000)
    try:
        files = open_files(place)
        names = files.names()
        annotations = read_annotations(files, names)
    except SourceError as error:
        yield Check("source", str(error), False)
        return
    tables = sorted({base for name in names if (base := name.rpartition("/")[2]) in TABLES})
    yield Check("tables", ", ".join(tables) or "none: val/ must then have a folder for each class", True)
    for split in SPLITS:
        try:
            source = open_source(f"{kind}:{place},split={split}")
        except SourceError as error:
            yield Check(split, str(error), False)
            continue
        yield from _split(split, source, expected, annotations)


def _split(split: str, source: Source, expected: int, annotations: Annotations) -> Iterator[Check]:
    """Classes against the release, images of each class, files in no class, and some pictures."""
    wnids = [name.split(" ")[0] for name in source.classes]
    counts = Counter(source.entry(number).label for number in range(len(source)))
    here = {wnid for label, wnid in enumerate(wnids) if counts[label]}
    needed = sorted(annotations.wnids)[:expected] or wnids
    absent = [wnid for wnid in needed if wnid not in here]
    known = hashlib.sha256("\n".join(sorted(here)).encode()).hexdigest() == KNOWN[expected]
    if not (known or absent or annotations.wnids):
        absent = ["its WNIDs are not those of the release; the tables that name all are not there"]
    yield _listed(f"{split} classes", f"{len(here & {*needed}):,} of {expected:,}", absent)
    amiss = [
        f"{wnid}: {counts[label]:,} of {all_of}"
        for label, wnid in enumerate(wnids)
        if counts[label] and (all_of := _needed(split, wnid, counts[label], annotations))
    ]
    images = sum(count for label, count in counts.items() if label is not None)
    yield _listed(f"{split} images", f"{images:,}, {len(amiss):,} classes without all of theirs", amiss)
    astray = [source.entry(number).name for number in range(len(source)) if source.entry(number).label is None]
    if astray:
        yield _listed(f"{split} files", f"{len(astray):,} belong to no class", astray)
    yield from _decoded(f"{split} pictures", source)


def _needed(split: str, wnid: str, count: int, annotations: Annotations) -> str:
    """How many images a class should have, where it has another number of them."""
    if split == "val":
        return "" if count == VAL_EACH else str(VAL_EACH)
    exact = annotations.train_images.get(wnid)
    if exact is not None:
        return "" if count == exact else f"{exact:,}"
    least, most = TRAIN_EACH
    return "" if least <= count <= most else f"{least} to {most:,}"


# --- FaceScrub -------------------------------------------------------------------------------------------------------


def _facescrub(kind: str, place: str, options: SourceOptions) -> Iterator[Check]:
    try:
        files = open_files(place)
        names = files.names()
        lists = rows_of_lists(files, names, "both")
        faces, remarks = find_faces(files, names, "both")
        source = open_source(f"{kind}:{place}", options)
    except SourceError as error:
        yield Check("source", str(error), False)
        return
    if lists:
        rows, absent = lists
        yield _listed("lists", f"{2 - len(absent)} of 2, {len(rows):,} faces", absent)
        yield from _faces(rows, located(files, names, rows))
    yield Check("people", f"{len(faces.people)} of {PEOPLE}", len(faces.people) == PEOPLE)
    people, images = STUDY
    members = Counter(faces.table["label"][faces.usable].tolist())
    enough = sum(count >= images for count in members.values())
    yield Check("study", f"{enough} people with {images} images or more; study=SEED takes {people}", enough >= people)
    yield from (Check("note", remark, True) for remark in remarks if "belong to no face" in remark)
    yield from _decoded("pictures", source)


def _faces(rows: list[Row], found: list[tuple[Row, str]]) -> Iterator[Check]:
    """Faces of the lists without a file. Links die: half of them is a good download today, so they are no failure."""
    have = {(row.person, row.image, row.face) for row, _ in found}
    lost = [f"{row.name} {row.image}_{row.face}" for row in rows if (row.person, row.image, row.face) not in have]
    check = _listed("images", f"{len(found):,} of {len(rows):,} faces have one", lost)
    yield Check(check.what, check.found, bool(found), check.missing)


_OF_KIND: dict[str, Callable[[str, str, SourceOptions], Iterator[Check]]] = {
    "cifar10": _cifar,
    "cifar100": _cifar,
    "imagenet": _imagenet,
    "imagenet100": _imagenet,
    "facescrub": _facescrub,
}
