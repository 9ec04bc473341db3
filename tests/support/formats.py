"""Small folders of shards in every format: photographs of their own sizes, the last with fields of its source."""

import io
import json

from PIL import Image

from tests.support.photo_runs import foreign, photo, protect, write_photos

QUICK = {"method": "sc"}  # noise that needs no network
SETS = ("png", "webp", "jpeg", "carried")


def write_formats(home):
    """home/NAME/out and its ledger for every set, made of home/photos and of a tar of somebody else."""
    write_photos(home / "photos", each=4)
    for name in SETS[:3]:
        protect(home / "photos", home / name / "out", format=name, **QUICK)
    tar = foreign(home / "tars", [_sample(number) for number in range(8)])
    protect(f"wds:{tar}", home / "carried" / "out", **QUICK)


def _sample(number):
    """One of the tar: a .json without a schema, and fields that not every sample has."""
    file = io.BytesIO()
    Image.fromarray(photo(number)).save(file, "PNG")
    about = {"n": number, "more": [1, "x"] if number % 2 else {"a": 1}}
    parts = {"png": file.getvalue(), "cls": b"%d" % (number % 2), "json": json.dumps(about).encode()}
    if number != 1:
        parts["txt"] = f"caption {number}".encode()
    if number == 5:
        parts["mask.png"], parts["xyz"] = file.getvalue(), b"\x00\xff"
    return parts
