"""Files that cannot be trusted: whatever is damaged, cut, appended, hidden or out of its place is noticed."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from semshard.errors import ShardError
from semshard.shards.pixels import FORMATS, decode_picture, encode_png, picture_problem
from semshard.sources.image_metadata import Metadata
from tests.support.containers import ICC, XMP, encode, exif, pixels, saved_by_pillow, smooth


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg_segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def behind_jfif(data, extra):
    return data[:20] + extra + data[20:]


def riff(*chunks):
    body = b"".join(kind + struct.pack("<I", len(held)) + held + bytes(len(held) % 2) for kind, held in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def vp8l(data):
    return data[20 : 20 + int.from_bytes(data[16:20], "little")]


# Any damage


@settings(max_examples=100)
@given(st.data())
def test_any_damage_to_a_png_is_found(data):
    whole = bytearray(encode_png(pixels()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ShardError):
        decode_picture(bytes(whole))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("metadata", [Metadata(), Metadata(ICC, exif(), XMP)], ids=["bare", "kept"])
@settings(max_examples=100)
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_a_picture_or_a_shard_error(format, metadata, flips):
    whole = bytearray(encode(pixels(), format, metadata=metadata))
    for place, bits in flips:
        whole[place % len(whole)] ^= bits
    if picture_problem(bytes(whole), format, "all"):
        with pytest.raises(ShardError):
            decode_picture(bytes(whole), format, "all")
        return
    with contextlib.suppress(ShardError):
        picture = decode_picture(bytes(whole), format, "all")
        assert (picture.dtype, picture.ndim) == (np.uint8, 3)


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=200)
@given(data=st.binary(max_size=80))
def test_noise_behind_a_true_beginning_is_a_shard_error(format, data):
    start = {"png": encode_png(pixels())[:8], "jpeg": b"\xff\xd8", "webp": b"RIFF\x40\0\0\0WEBPVP8L"}[format]
    for hostile in (data, start + data):
        with pytest.raises(ShardError):
            decode_picture(hostile, format, "all")


@pytest.mark.parametrize("format", FORMATS)
def test_a_cut_file_is_found_wherever_it_is_cut(format):
    data = encode(pixels(5, 6), format, metadata=Metadata(exif=exif(), xmp=XMP))
    assert all(picture_problem(data[:cut], format, "all") for cut in range(len(data)))


@pytest.mark.parametrize("format", FORMATS)
def test_something_behind_the_end_is_found(format):
    for surplus in (b"\0", b"GPS 52.5 13.4", encode(pixels(), format)):
        assert "something follows" in picture_problem(encode(pixels(), format) + surplus, format)


@pytest.mark.parametrize("format", FORMATS)
def test_another_format_is_found(format):
    for other in set(FORMATS) - {format}:
        assert picture_problem(encode(pixels(), other), format).startswith("not a")


# Parts that have no place there


def test_png_text_and_exif_are_found():
    about = PngImagePlugin.PngInfo()
    about.add_text("Author", "somebody")
    text = saved_by_pillow(pixels(), "PNG", pnginfo=about)
    assert "more than pixels: chunk tEXt" in picture_problem(text)
    assert "more than pixels: chunk tEXt" in picture_problem(text, "png", "all")


def test_png_text_that_is_not_xmp_is_found():
    whole = encode_png(pixels())
    comment = whole[:33] + png_chunk(b"iTXt", b"Comment\0\0\0\0\0somebody") + whole[33:]
    assert "more than pixels: chunk iTXt" in picture_problem(comment, "png", "all")


def test_a_png_with_sound_sums_and_a_wrong_structure_is_found():
    whole = encode_png(pixels())
    signature, header, body, end = whole[:8], whole[8:33], whole[33:-12], whole[-12:]
    assert picture_problem(signature + header + body + end) == ""
    for wrong in (
        body + end,  # no header
        header + header + body + end,
        header + end,  # no picture
        body + header + end,
        header + body + png_chunk(b"IEND", b"GPS 52.5 13.4"),
        png_chunk(b"IHDR", b"\0\0\0\1") + body + end,
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 17, 8, 2, 0, 0, 0)) + body + end,
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 23, 17, 8, 6, 0, 0, 0)) + body + end,
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 23, 17, 16, 2, 0, 0, 0)) + body + end,
    ):
        assert picture_problem(signature + wrong) != ""
        with pytest.raises(ShardError):
            decode_picture(signature + wrong)


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        (jpeg_segment(0xFE, b"somebody"), "COM"),
        (jpeg_segment(0xED, b"Photoshop 3.0\0"), "APP13"),
        (jpeg_segment(0xEE, b"Adobe\0\0\0\0\0\0\0"), "APP14"),
        (jpeg_segment(0xE2, b"MPF\0"), "APP2"),
        (jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0"), "APP1"),
        (jpeg_segment(0xE0, b"JFXX\0\x13\1\1\1\2\3"), "APP0"),
        (jpeg_segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1\1\2\3"), "APP0"),  # a thumbnail of one pixel
    ],
)
def test_segments_besides_pixels_are_found(segment, name):
    data = behind_jfif(encode(pixels(), "jpeg"), segment)
    for keep in ("none", "icc", "all"):
        assert picture_problem(data, "jpeg", keep) == f"the JPEG carries more than pixels: {name}"


def test_a_jpeg_of_a_wrong_structure_is_found():
    whole = encode(pixels(), "jpeg")
    frame, scan = whole.index(b"\xff\xc0"), whole.index(b"\xff\xda")
    for wrong in (
        whole[:2] + b"\xff\xd9",
        whole[:scan] + b"\xff\xd9",  # no scan
        whole[:frame] + whole[scan:],  # no frame
        whole[:scan] + whole[frame:],  # two frames
        behind_jfif(whole, b"\xff\xfe\0\0"),
        behind_jfif(whole, b"\xff\xcc\0\2"),
        behind_jfif(whole, b"GPS 52.5 13.4"),
        whole[: frame + 5] + b"\0\0" + whole[frame + 7 :],  # a height that follows later
        whole[: frame + 1] + b"\xc9" + whole[frame + 2 :],  # arithmetic coding
    ):
        assert picture_problem(wrong, "jpeg") != ""
        with pytest.raises(ShardError):
            decode_picture(wrong, "jpeg")


def test_a_jpeg_of_endless_scans_is_refused():
    whole = encode(pixels(), "jpeg")
    scan = whole[whole.index(b"\xff\xda") : -2]
    assert picture_problem(whole[:-2] + scan * 9 + whole[-2:], "jpeg") == ""
    assert "more than 64 scans" in picture_problem(whole[:-2] + scan * 64 + whole[-2:], "jpeg")


def test_a_lossy_webp_is_refused():
    data = saved_by_pillow(smooth(), "WEBP", quality=90)
    assert picture_problem(data, "webp") == "the WebP is lossy"
    assert picture_problem(saved_by_pillow(smooth(), "WEBP", quality=90, exif=exif()), "webp", "all") != ""


def test_hidden_pixels_of_a_webp_are_refused():
    layered = np.dstack([pixels(), np.arange(23, dtype=np.uint8) + np.zeros((17, 1), np.uint8)])
    assert "alpha" in picture_problem(saved_by_pillow(layered, "WEBP", lossless=True), "webp")
    frames = [Image.fromarray(pixels(seed=seed)) for seed in range(2)]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", lossless=True, save_all=True, append_images=frames[1:])
    assert "more than pixels" in picture_problem(file.getvalue(), "webp", "all").replace("chunk ANIM", "")


def test_a_webp_of_a_wrong_structure_is_found():
    picture = (b"VP8L", vp8l(encode(pixels(), "webp")))
    canvas = struct.pack("<I", 0x08) + b"\x16\0\0\x10\0\0"  # Exif; 23 × 17
    about = (b"EXIF", exif()[6:])
    assert picture_problem(riff(picture), "webp") == ""
    assert picture_problem(riff((b"VP8X", canvas), picture, about), "webp", "all") == ""
    for wrong in (
        riff(),
        riff((b"VP8X", canvas)),
        riff(picture, picture),
        riff(picture, about),  # no VP8X that says so
        riff((b"VP8X", canvas), picture),  # Exif that is missing
        riff((b"VP8X", canvas), about, picture),
        riff((b"VP8X", canvas), picture, about, about),
        riff((b"VP8X", b"\x0a" + canvas[1:]), picture, about),  # animated
        riff((b"VP8X", canvas[:-1] + b"\1"), picture, about),  # of another size
        riff(picture, (b"JUNK", b"GPS 52.5 13.4")),
        riff((b"VP8L", b"\x2f\0\0")),
        riff((b"VP8L", b"\0" + picture[1][1:])),
        riff((b"VP8L", picture[1][:30])),
    ):
        with pytest.raises(ShardError):
            decode_picture(wrong, "webp", "all")


def test_the_pad_of_a_webp_chunk_holds_nothing():
    data = encode(pixels(), "webp", metadata=Metadata(xmp=b"odd"))
    assert data.endswith(b"odd\0")
    assert picture_problem(data[:-1] + b"!", "webp", "all") != ""


def test_a_bomb_is_refused_unopened():
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    assert "100000 × 100000" in picture_problem(b"\x89PNG\r\n\x1a\n" + header)
    frame = jpeg_segment(0xC0, struct.pack(">BHHB", 8, 60_000, 60_000, 3) + bytes(9))
    assert "60000 × 60000" in picture_problem(b"\xff\xd8" + frame + b"\xff\xd9", "jpeg")
