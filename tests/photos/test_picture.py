"""Photographs that are grey, alike, too large, cut short, transparent or of extreme shapes."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.corpus import picture, saved
from tests.support.photo_runs import (
    flat,
    ledger,
    manifest,
    passes,
    photo,
    pixels,
    protect,
    sources_of,
    write_greys,
    write_photos,
)


@pytest.mark.parametrize(
    ("side", "settings"), [(None, {}), (None, {"format": "jpeg"}), (None, {"jpeg_safe": True}), (32, {"crop": 0})]
)
def test_grey_images_keep_their_look_where_asked(tmp_path, side, settings):
    write_greys(tmp_path / "images", side)
    out = tmp_path / "out"
    protect(tmp_path / "images", out, grey="keep", **settings)
    named = sources_of(out)
    for key, parts in flat(out).items():
        published = pixels(parts["jpg" if settings.get("format") else "png"])
        assert (published == published[..., :1]).all() == ("grey" in named[key]), named[key]
        assert json.loads(parts["json"])["linf"] > 0
    passes(out, 8)


@pytest.fixture
def twins(tmp_path):
    """Eight photographs, and two more files with pixels of earlier ones, one of them in another format."""
    write_photos(tmp_path / "images")
    Image.fromarray(photo(0)).save(tmp_path / "images" / "a" / "twin.bmp")
    Image.fromarray(photo(2)).save(tmp_path / "images" / "a" / "zwin.png")
    return tmp_path


def test_duplicates_are_kept_and_counted(twins):
    result = protect(twins / "images", twins / "out")
    assert (result.samples, result.rejected, result.duplicates) == (10, 0, 2)
    assert manifest(twins / "out")["counts"]["duplicates"] == 2
    passes(twins / "out", 10)


def test_duplicates_are_rejected_where_asked_and_named(twins):
    result = protect(twins / "images", twins / "out", duplicates="reject", max_rejects=0.5)
    assert (result.samples, result.rejected, result.duplicates) == (8, 2, 2)
    reasons = {row["source"]: row["reason"] for row in ledger(twins / "out")[0] if row["reason"]}
    assert reasons == {
        "a/twin.bmp": "has the pixels of a/00.png", "a/zwin.png": "has the pixels of a/02.png"
    }  # fmt: skip
    passes(twins / "out", 8)


def test_what_is_too_large_is_rejected_or_shrunk(tmp_path):
    write_photos(tmp_path / "images")
    Image.fromarray(picture(300, 200, 9)).save(tmp_path / "images" / "a" / "large.png")
    bound = {"max_pixels": 20_000, "max_rejects": 0.5}
    assert protect(tmp_path / "images", tmp_path / "rejected", **bound).rejected == 1
    assert protect(tmp_path / "images", tmp_path / "shrunk", too_large="shrink", **bound).rejected == 0
    (large,) = (key for key, name in sources_of(tmp_path / "shrunk").items() if name == "a/large.png")
    height, width, _ = pixels(flat(tmp_path / "shrunk")[large]["png"]).shape
    assert 18_000 < height * width <= 20_000
    assert abs(width / height - 1.5) < 0.03
    (row,) = (row for row in ledger(tmp_path / "shrunk")[0] if row["source"] == "a/large.png")
    assert "resized from 300 × 200" in row["note"]
    passes(tmp_path / "rejected", 8)
    passes(tmp_path / "shrunk", 9)


def test_what_was_cut_short_is_accepted_where_asked(tmp_path):
    write_photos(tmp_path / "images")
    whole = saved(picture(120, 90, 9), "JPEG", quality=90)
    (tmp_path / "images" / "a" / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    assert protect(tmp_path / "images", tmp_path / "out", truncated="accept").samples == 9
    (row,) = (row for row in ledger(tmp_path / "out")[0] if row["source"] == "a/cut.jpg")
    assert "truncated" in row["note"]
    passes(tmp_path / "out", 9)


def test_the_background_shows_under_transparent_pixels(tmp_path):
    write_photos(tmp_path / "images")
    clear = np.zeros((80, 90, 4), np.uint8)
    Image.fromarray(clear).save(tmp_path / "images" / "a" / "clear.png")
    protect(tmp_path / "images", tmp_path / "out", background="#204060")
    (key,) = (key for key, name in sources_of(tmp_path / "out").items() if name == "a/clear.png")
    published = pixels(flat(tmp_path / "out")[key]["png"]).astype(int)
    assert np.abs(published - (0x20, 0x40, 0x60)).max() == 8
    passes(tmp_path / "out", 9)


def test_a_photograph_that_is_too_long_for_its_format_stops_nothing(tmp_path):
    write_photos(tmp_path / "images")
    Image.fromarray(picture(16_400, 8)).save(tmp_path / "images" / "a" / "panorama.png")
    result = protect(tmp_path / "images", tmp_path / "out", format="webp", max_rejects=0.2)
    assert (result.samples, result.rejected) == (8, 1)
    assert any("16400" in row["reason"] for row in ledger(tmp_path / "out")[0])
    passes(tmp_path / "out", 8)


def test_small_photographs_of_mixed_sizes_and_extreme_shapes_are_protected(tmp_path):
    sizes = [(8, 8), (9, 30), (400, 8), (8, 400), (33, 31), (64, 64), (65, 12), (250, 9)]
    for number, (width, height) in enumerate(sizes):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(width, height, number)).save(path)
    protect(tmp_path / "images", tmp_path / "out")
    named = sources_of(tmp_path / "out")
    for key, parts in flat(tmp_path / "out").items():
        width, height = sizes[int(named[key][2])]
        assert pixels(parts["png"]).shape == (height, width, 3)
    passes(tmp_path / "out", 8)
