"""Every ordinary file becomes its pixels, upright, of one picture, within the bounds that the settings name."""

import time

import numpy as np
import pytest
from PIL import Image

from semshard.errors import RejectedImage, SettingError
from semshard.sources.decode import Decoding, decode, parse_colour
from tests.support import corpus
from tests.support.corpus import picture, saved
from tests.support.outcomes import largest_difference, note, pixels
from tests.support.runs import real

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files in many ways; what counts is the outcome
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


# Ordinary files


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_files_give_their_pixels_without_a_note(kind):
    decoded = decode(saved(picture(), kind))
    assert np.array_equal(decoded.pixels, picture())
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.flags.c_contiguous
    assert decoded.note == ""
    assert not decoded.metadata


def test_the_whole_corpus_becomes_what_it_says(tmp_path):
    expected = corpus.write_corpus(tmp_path)
    outcomes = {}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path).as_posix()
            try:
                decode(path.read_bytes())
                outcomes[name] = corpus.PROTECTED
            except RejectedImage as reason:
                outcomes[name] = next((word for word in [expected[name]] if word in str(reason)), str(reason))
    assert outcomes == expected
    assert all(sum(name[0] == c and word == corpus.PROTECTED for name, word in outcomes.items()) >= 4 for c in "ab")


def test_photographs_as_they_were_taken_all_decode():
    for path in sorted(real("wild").iterdir()):
        with Image.open(path) as image:
            assert sorted(pixels(path.read_bytes()).shape[:2]) == sorted(image.size)


# Orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(kind, orientation):
    lying = pixels(corpus.oriented(1, kind))
    assert np.array_equal(pixels(corpus.oriented(orientation, kind)), UPRIGHT[orientation](lying))


def test_orientation_may_stand_in_xmp():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(picture(), "WEBP", lossless=True, xmp=xmp)
    assert np.array_equal(pixels(data), np.rot90(picture(), -1))


def test_broken_exif_is_ignored_with_a_note():
    data = saved(picture(), "PNG", exif=b"Exif\0\0neither order")
    assert np.array_equal(pixels(data), picture())
    assert note(data) == "unusable EXIF ignored"


@pytest.mark.parametrize("box", [(8, 4, 24, 30), (-5, -5, 20, 20), (20, 10, 400, 400)])
def test_a_box_is_of_the_upright_picture_and_clipped_to_it(box):
    whole = pixels(corpus.oriented(6, "PNG"))
    left, top, right, bottom = np.maximum(box, 0)
    cut = decode(corpus.oriented(6, "PNG"), box=box).pixels
    assert np.array_equal(cut, whole[top:bottom, left:right])
    assert cut.flags.c_contiguous


@pytest.mark.parametrize("box", [(0, 0, 7, 30), (45, 0, 90, 30), (20, 0, 10, 30), (100, 100, 120, 120)])
def test_a_box_that_leaves_too_little_is_a_reject(box):
    with pytest.raises(RejectedImage, match=r"the box leaves .* below 8 per side"):
        decode(saved(picture(), "PNG"), box=box)


# Several pictures in one


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken_and_the_note_says_so(kind):
    decoded = decode(corpus.animated(kind, 12))
    alone = decode(corpus.animated(kind, 1))
    assert np.array_equal(decoded.pixels, alone.pixels)
    assert decoded.note == "first of 12 frames"
    assert alone.note == ""


def test_of_a_stereo_picture_the_first_is_taken():
    both = [Image.fromarray(picture(seed=seed)) for seed in range(2)]
    decoded = decode(saved(both[0], "MPO", save_all=True, append_images=both[1:]))
    assert np.array_equal(decoded.pixels, pixels(saved(both[0], "JPEG")))
    assert decoded.note == "first of 2 frames"


def test_later_frames_that_are_broken_do_not_matter():
    for kind in ("GIF", "TIFF"):
        whole = corpus.animated(kind, 3)
        one = len(corpus.animated(kind, 1))
        assert np.array_equal(pixels(whole[: one + 100]), pixels(whole))


# Too large, too small


def test_more_pixels_than_the_bound_are_refused():
    data = saved(picture(48, 40), "PNG")
    assert pixels(data, max_pixels=48 * 40).shape == (40, 48, 3)
    with pytest.raises(RejectedImage, match=r"^48 × 40 pixels, above the bound of 1919$"):
        decode(data, Decoding(max_pixels=48 * 40 - 1))


def test_a_bomb_is_refused_unread_even_where_large_ones_are_shrunk():
    bomb = corpus.bomb()
    started = time.monotonic()
    for settings_ in ({}, {"too_large": "shrink"}, {"too_large": "shrink", "max_pixels": 1000}):
        with pytest.raises(RejectedImage, match=r"^20000 × 20000 pixels, above the bound of 178956970$"):
            decode(bomb, Decoding(**settings_))
    assert time.monotonic() - started < 1


def test_a_higher_bound_lets_larger_files_pass(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    with pytest.raises(RejectedImage, match=r"^20000 × 20000 pixels, above the bound of 399999999$"):
        decode(corpus.bomb(), Decoding(max_pixels=400_000_000 - 1))
    assert Image.MAX_IMAGE_PIXELS == 200_000_000


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("most", [100 * 80, 50 * 40 + 3, 7000])
def test_large_pictures_are_shrunk_to_the_bound(kind, most):
    smooth = np.asarray(Image.fromarray(picture(25, 20)).resize((200, 160), Image.Resampling.BICUBIC))
    decoded = decode(saved(smooth, kind), Decoding(too_large="shrink", max_pixels=most))
    height, width = decoded.pixels.shape[:2]
    assert 0.9 * most < width * height <= most
    assert abs(width / height - 1.25) < 0.05
    expected = Image.fromarray(smooth).resize((width, height), Image.Resampling.LANCZOS)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(expected)).mean() < 2
    assert decoded.note == "resized from 200 × 160"


def test_shrinking_is_antialiased():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    assert (
        largest_difference(pixels(saved(stripes, "PNG"), too_large="shrink", max_pixels=32 * 32)[4:-4, 4:-4], 127) <= 3
    )


def test_a_turned_picture_that_is_shrunk_keeps_its_shape():
    decoded = decode(corpus.oriented(6, size=(120, 60)), Decoding(too_large="shrink", max_pixels=30 * 15))
    assert decoded.pixels.shape == (30, 15, 3)
    assert decoded.note == "resized from 60 × 120"


def test_a_box_is_cut_from_the_full_size_before_anything_is_shrunk():
    data = saved(picture(200, 160), "JPEG", quality=95)
    whole, shrink = pixels(data), Decoding(too_large="shrink", max_pixels=1000)
    assert np.array_equal(decode(data, shrink, (100, 100, 120, 120)).pixels, whole[100:120, 100:120])
    assert decode(data, shrink, (0, 0, 100, 40)).pixels.shape == (20, 50, 3)


def test_a_page_that_xmp_turns_keeps_its_shape_when_it_is_shrunk():
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    data = saved(picture(120, 60), "TIFF", tiffinfo={700: xmp})
    assert decode(data, Decoding(too_large="shrink", max_pixels=30 * 15)).pixels.shape == (30, 15, 3)


@pytest.mark.parametrize("size", [(7, 40), (40, 7), (1, 1)])
def test_sides_below_8_are_refused(size):
    with pytest.raises(RejectedImage, match=rf"^{size[0]} × {size[1]} pixels, below 8 per side$"):
        decode(saved(picture(*size), "PNG"))
    assert pixels(saved(picture(8, 8), "PNG")).shape == (8, 8, 3)


def test_a_strip_that_shrinks_away_is_refused():
    with pytest.raises(RejectedImage, match="below 8 per side when resized"):
        decode(saved(picture(1000, 9), "PNG"), Decoding(too_large="shrink", max_pixels=4000))


# Settings


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("#102030", (16, 32, 48)),
        ("Rebeccapurple", (102, 51, 153)),
        ("rgb(1,2,3)", (1, 2, 3)),
    ],
)
def test_colours_have_names(text, colour):
    assert parse_colour(text) == colour


@pytest.mark.parametrize("text", ["", "no colour", "#12", "#10203040", "rgb(300,0,0)", "x" * 200])
def test_what_is_no_colour_is_named(text):
    with pytest.raises(SettingError, match="is not a colour"):
        parse_colour(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"truncated": "yes"},
        {"too_large": "crop"},
        {"keep_metadata": "exif"},
        {"max_pixels": 0},
        {"background": (0, 0, 256)},
    ],
)
def test_impossible_settings_are_named(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        Decoding(**wrong)
