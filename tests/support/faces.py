"""FaceScrub in small: lists in the form of the release, with images in the layouts that downloads leave."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import parquet

from semshard.sources.face_lists import COLUMNS, LISTS

ACTORS = ("Aaron Eckhart", "Alec Baldwin", "Téa Smith Jr.")


ACTRESSES = ("Aisha Hinds", "Zooey Deschanel")


@dataclass
class Face:
    """A line of a list, and the image that it was made of."""

    name: str
    image: int
    face: int
    box: tuple[int, ...] = (10, 20, 50, 60)
    extra: str = ""

    @property
    def data(self):
        return f"the image {self.name} {self.image}".encode()

    @property
    def url(self):
        return f"http://example.org/{self.image}.jpg"

    @property
    def line(self):
        sha256 = hashlib.sha256(self.data).hexdigest()
        box = ",".join(map(str, self.box))
        return f"{self.name}\t{self.image}\t{self.face}\t{self.url}\t{box}\t{sha256}\n"

    @property
    def label(self):
        return f"{self.name.replace(' ', '_')}/{self.image}_{self.face}"


def faces(names, each, first):
    """As in the release, ids count on from person to person, and faces lag behind images."""
    return [
        Face(name, image := first + index * each + number, image - first // 2)
        for index, name in enumerate(names)
        for number in range(each)
    ]


def write_lists(root, actors=(), actresses=(), header=True):
    root.mkdir(parents=True, exist_ok=True)
    for base, rows in ((LISTS["actors"], actors), (LISTS["actresses"], actresses)):
        if rows:
            (root / base).write_text(("\t".join(COLUMNS) + "\n" if header else "") + "".join(r.line for r in rows))


def write(root, name, data):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def by_image(root, face):
    name = face.name.replace(" ", "_")
    write(root, f"actors/images/{name}/{name}_{face.image}.jpeg", face.data)


def by_face(root, face):
    write(root, f"{face.name}/{face.name}_{face.face}.png", face.data)


def by_both(root, face):
    write(root, f"{face.name.lower()}/{face.image}_{face.face}.jpg", face.data)


def bare(root, face):
    write(root, f"{face.name.replace(' ', '_')}/{face.image}", face.data)


def by_link(root, rows, table=True, links=True, shard=4):
    """As img2dataset writes it; of every shard the last failed."""
    for start in range(0, len(rows), shard):
        number = start // shard
        keys = [f"{number:05d}{index:04d}" for index in range(len(rows[start : start + shard]))]
        for key, face in list(zip(keys, rows[start:], strict=False))[:-1]:
            write(root, f"{number:05d}/{key}.jpg", face.data)
            if links:
                write(root, f"{number:05d}/{key}.json", json.dumps({"url": face.url, "key": key}).encode())
        content = {"url": [face.url for face in rows[start : start + shard]], "key": keys, "status": ["?"] * len(keys)}
        write(root, f"{number:05d}_stats.json", b"{}")
        if table:
            parquet.write_table(pa.table(content), root / f"{number:05d}.parquet")


def labelled(source):
    entries = [source.entry(number) for number in range(len(source))]
    return {entry.name: source.classes[entry.label] for entry in entries}


def names(source):
    return {source.entry(number).name for number in range(len(source))}
