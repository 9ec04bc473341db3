"""Finished folders of every format, each made once."""

import io
import json
import shutil

import pytest
from PIL import Image

from tests.support.photo_runs import foreign, photo, protect, write_photos

QUICK = {"method": "sc"}  # noise that needs no network
SETS = ("png", "webp", "jpeg", "carried")


@pytest.fixture(scope="session")
def formats(tmp_path_factory):
    """name → a home with out/ and out.ledger/; photographs of their own sizes, the last with fields of its source."""
    home = tmp_path_factory.mktemp("formats")
    write_photos(home / "photos", each=4)
    for name in SETS[:3]:
        protect(home / "photos", home / name / "out", format=name, **QUICK)
    tar = foreign(home / "tars", [_sample(number) for number in range(8)])
    protect(f"wds:{tar}", home / "carried" / "out", **QUICK)
    return home


@pytest.fixture
def folder(formats, tmp_path):
    """What copies the folder of a format, with its ledger, for this test alone."""

    def copy(name):
        shutil.copytree(formats / name, tmp_path / name)
        return tmp_path / name / "out"

    return copy


def _sample(number):
    """One of somebody else's tar: a .json without a schema, and fields that not every sample has."""
    file = io.BytesIO()
    Image.fromarray(photo(number)).save(file, "PNG")
    about = {"n": number, "more": [1, "x"] if number % 2 else {"a": 1}}
    parts = {"png": file.getvalue(), "cls": b"%d" % (number % 2), "json": json.dumps(about).encode()}
    if number != 1:
        parts["txt"] = f"caption {number}".encode()
    if number == 5:
        parts["mask.png"], parts["xyz"] = file.getvalue(), b"\x00\xff"
    return parts
