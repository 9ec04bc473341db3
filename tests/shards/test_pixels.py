"""The pixel codecs: PNG and WebP lossless, JPEG close, metadata kept to the byte."""

import io
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semshard.errors import SettingError, ShardError
from semshard.shards.pixels import (
    EXTENSIONS,
    FORMATS,
    decode_picture,
    encode_pictures,
    encode_png,
    picture_problem,
)
from semshard.sources.image_metadata import Metadata
from tests.support.containers import ICC, XMP, encode, exif, pixels, saved_by_pillow, smooth
from tests.support.runs import real

LOSSLESS = ("png", "webp")


def open_by_pillow(data):
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


# Round trips


@pytest.mark.parametrize("format", LOSSLESS)
@settings(max_examples=40)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 1000), st.sampled_from([1, 2, 5, 256]))
def test_lossless_round_trip(format, height, width, seed, values):
    picture = (pixels(height, width, seed) // (256 / values)).astype(np.uint8)
    data = encode(picture, format)
    assert np.array_equal(decode_picture(data, format), picture)
    assert np.array_equal(np.asarray(open_by_pillow(data).convert("RGB")), picture)
    assert picture_problem(data, format) == ""


@pytest.mark.parametrize("format", LOSSLESS)
def test_black_and_nearly_black_come_back(format):
    picture = pixels(40, 40) % 2
    picture[:20] = 0
    assert np.array_equal(decode_picture(encode(picture, format), format), picture)


@pytest.mark.parametrize("format", LOSSLESS)
def test_photographs_come_back(format):
    for path in sorted(real("wild").rglob("*.JPEG"))[:3]:
        picture = np.asarray(Image.open(path).convert("RGB"))
        assert np.array_equal(decode_picture(encode(picture, format), format), picture)


def test_without_a_format_pictures_are_png():
    batch = np.stack([pixels(seed=seed) for seed in range(3)])
    assert encode_pictures(batch) == encode_pictures(batch, "png") == [encode_png(picture) for picture in batch]
    assert np.array_equal(decode_picture(encode_png(batch[0])), batch[0])
    assert picture_problem(encode_png(batch[0])) == ""


@pytest.mark.parametrize("format", FORMATS)
def test_equal_pixels_give_equal_bytes(format):
    batch = np.stack([smooth()] * 2)
    first, second = encode_pictures(batch, format)
    assert first == second == encode_pictures(batch[::-1, ::-1][:, ::-1], format)[0]


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_batch_is_no_files(format):
    assert encode_pictures(np.zeros((0, 8, 8, 3), np.uint8), format) == []


def test_png_bytes_did_not_grow():
    drawn, noise = smooth(256, 256), pixels(256, 256)
    for picture in (drawn, noise):
        done, plain = cv2.imencode(".png", picture[..., ::-1])
        assert done
        assert encode_png(picture) == bytes(plain)
    assert len(encode_png(noise)) <= noise.size * 1.005
    assert len(encode_png(drawn)) <= 72_700  # 71,965 with OpenCV 5.0; 1 % for other versions of zlib


def test_webp_is_smaller_than_png():
    assert len(encode(smooth(), "webp")) < len(encode(smooth(), "png"))


# JPEG


@pytest.mark.parametrize(("quality", "most"), [(95, 5), (98, 4), (100, 4)])
def test_a_smooth_jpeg_stays_close(quality, most):
    decoded = decode_picture(encode(smooth(), "jpeg", quality), "jpeg")
    assert np.abs(decoded.astype(int) - smooth()).max() <= most


@settings(max_examples=30)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 1000), st.sampled_from([1, 50, 95, 100]))
def test_opencv_and_pillow_decode_a_jpeg_alike(height, width, seed, quality):
    data = encode(pixels(height, width, seed), "jpeg", quality)
    ours, theirs = decode_picture(data, "jpeg"), np.asarray(open_by_pillow(data))
    assert ours.shape == theirs.shape == (height, width, 3)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_jpeg_has_full_chroma_and_no_words():
    picture = open_by_pillow(encode(smooth(), "jpeg"))
    assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3
    assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_quality_decides_the_size_of_a_jpeg():
    sizes = [len(encode(smooth(), "jpeg", quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_an_impossible_quality_is_refused(quality):
    with pytest.raises(SettingError, match="1 to 100"):
        encode(smooth(), "jpeg", quality)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"restart_marker_rows": 1}])
def test_jpegs_of_other_encoders_pass(options):
    data = saved_by_pillow(smooth(), "JPEG", quality=95, **options)
    assert picture_problem(data, "jpeg") == ""
    assert np.abs(decode_picture(data, "jpeg").astype(int) - np.asarray(open_by_pillow(data))).max() <= 1


def test_jpegs_that_are_not_colour_are_refused():
    assert "1 components" in picture_problem(saved_by_pillow(smooth()[..., 0], "JPEG"), "jpeg")
    file = io.BytesIO()
    Image.fromarray(smooth()).convert("CMYK").save(file, "JPEG")
    assert picture_problem(file.getvalue(), "jpeg") != ""


# Sizes


@pytest.mark.parametrize(("format", "side"), [("png", 65_535), ("jpeg", 65_500), ("webp", 16_383)])
@pytest.mark.parametrize("upright", [True, False])
def test_the_longest_side_works(format, side, upright):
    picture = np.zeros((side, 2, 3) if upright else (2, side, 3), np.uint8)
    assert np.array_equal(decode_picture(encode(picture, format), format), picture)


@pytest.mark.parametrize(("format", "name", "side"), [("jpeg", "JPEG", 65_500), ("webp", "WebP", 16_383)])
def test_a_longer_side_is_refused(format, name, side):
    with pytest.raises(ShardError, match=f"{side + 1} × 2, and {name} holds at most {side} pixels per side"):
        encode(np.zeros((2, side + 1, 3), np.uint8), format)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3)])
def test_an_image_without_pixels_is_refused(format, shape):
    with pytest.raises(ShardError, match="can be published"):
        encode(np.zeros(shape, np.uint8), format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_hundred_megapixels_work(format):
    picture = np.zeros((10_000, 10_000, 3), np.uint8)
    picture[::2] = 255
    decoded = decode_picture(encode(picture, format, 100), format)
    assert decoded.shape == picture.shape
    assert np.array_equal(decoded[:64], picture[:64])


def test_unknown_formats_and_kinds_of_metadata_are_refused():
    for wrong in (
        lambda: encode(smooth(), "gif"),
        lambda: decode_picture(b"", "gif"),
        lambda: picture_problem(b"", "png", "some"),
    ):
        with pytest.raises(SettingError, match="choose from"):
            wrong()
    assert set(EXTENSIONS) == set(FORMATS)


# Metadata


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("held", list(itertools.product([False, True], repeat=3)))
def test_metadata_is_read_back_by_pillow(format, held):
    metadata = Metadata(ICC * held[0], exif() * held[1], XMP * held[2])
    data = encode(smooth(), format, metadata=metadata)
    picture = open_by_pillow(data)
    assert picture.info.get("icc_profile", b"") == metadata.icc
    assert dict(picture.getexif()) == ({0x0112: 1, 0x013B: "somebody"} if held[1] else {})
    assert picture.info.get("xmp", b"") == metadata.xmp
    assert picture_problem(data, format, "all") == ""
    assert (picture_problem(data, format, "icc") == "") == (not (held[1] or held[2]))
    assert (picture_problem(data, format, "none") == "") == (not any(held))
    assert np.array_equal(decode_picture(data, format, "all"), decode_picture(encode(smooth(), format), format))


@pytest.mark.parametrize("format", FORMATS)
def test_each_picture_gets_its_own_metadata(format):
    batch = np.stack([pixels(seed=seed) for seed in range(3)])
    kept = [Metadata(xmp=b"<first/>"), Metadata(), Metadata(exif=exif(author="third"))]
    first, second, third = encode_pictures(batch, format, metadata=kept)
    assert open_by_pillow(first).info["xmp"] == b"<first/>"
    assert second == encode(batch[1], format)
    assert open_by_pillow(third).getexif()[0x013B] == "third"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_nothing(format, orientation):
    plain, turned = (encode(smooth(), format, metadata=Metadata(exif=block)) for block in (b"", exif(orientation)))
    assert np.array_equal(decode_picture(turned, format, "all"), decode_picture(plain, format))


@pytest.mark.parametrize("format", FORMATS)
def test_exif_without_its_prefix_is_the_same(format):
    with_prefix, without = (Metadata(exif=block) for block in (exif(), exif().removeprefix(b"Exif\0\0")))
    assert encode(smooth(), format, metadata=with_prefix) == encode(smooth(), format, metadata=without)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [65_518, 65_519, 65_520, 131_038, 131_039, 1 << 20])
def test_a_large_profile_comes_back(format, size):
    profile = np.random.default_rng(0).bytes(size)
    data = encode(pixels(), format, metadata=Metadata(icc=profile))
    assert open_by_pillow(data).info["icc_profile"] == profile
    assert picture_problem(data, format, "icc") == ""
    assert decode_picture(data, format, "icc").shape == pixels().shape


@pytest.mark.parametrize(
    ("format", "block", "room"),
    [
        ("jpeg", "exif", 65_533 - 6),
        ("jpeg", "xmp", 65_533 - 29),
        ("jpeg", "icc", 255 * 65_519),
        ("png", "icc", 1 << 20),
        ("png", "exif", 7_990_000),
        ("png", "xmp", 7_990_000),
    ],
)
def test_metadata_fits_to_the_byte_or_is_refused(format, block, room):
    fits = encode(pixels(), format, metadata=Metadata(**{block: b"I" * room}))
    assert picture_problem(fits, format, "all") == ""
    assert decode_picture(fits, format, "all").shape == pixels().shape
    assert Image.open(io.BytesIO(fits)).size == (23, 17)
    with pytest.raises(ShardError, match=f"of {room + 1} bytes does not fit into a {format.upper()}"):
        encode(pixels(), format, metadata=Metadata(**{block: b"I" * (room + 1)}))


@pytest.mark.parametrize("format", FORMATS)
def test_metadata_written_by_pillow_is_found(format):
    options = {"lossless": True} if format == "webp" else {}
    for name, value in (("icc_profile", ICC), ("exif", exif())):
        data = saved_by_pillow(smooth(), format.upper(), **options, **{name: value})
        assert "more than pixels" in picture_problem(data, format)
        with pytest.raises(ShardError, match="more than pixels"):
            decode_picture(data, format)
