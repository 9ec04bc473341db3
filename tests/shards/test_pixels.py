"""The pixel codec: lossless, nothing but pixels, nothing decoded that is not whole."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from semshard.errors import ShardError
from semshard.shards import decode_png, encode_png, png_problem


def pixels(height=17, width=23, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(0, 1000))
def test_round_trip(height, width, seed):
    picture = pixels(height, width, seed)
    data = encode_png(picture)
    assert np.array_equal(decode_png(data), picture)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)
    assert png_problem(data) == ""


def test_equal_pixels_give_equal_bytes():
    assert encode_png(pixels()) == encode_png(pixels())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_damage_is_found(data):
    whole = bytearray(encode_png(pixels()))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ShardError):
        decode_png(bytes(whole))


@pytest.mark.parametrize("cut", [0, 1, 8, 20, 100, -1])
def test_a_cut_file_is_found(cut):
    with pytest.raises(ShardError):
        decode_png(encode_png(pixels())[:cut])


def test_text_and_exif_are_found():
    about = PngImagePlugin.PngInfo()
    about.add_text("Author", "somebody")
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, "PNG", pnginfo=about)
    assert "more than pixels: chunk tEXt" in png_problem(file.getvalue())


def test_something_behind_the_end_is_found():
    assert "follows" in png_problem(encode_png(pixels()) + b"GPS 52.5 13.4")


def test_a_bomb_is_refused_unopened():
    body = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(body)) + b"IHDR" + body + struct.pack(">I", zlib.crc32(b"IHDR" + body))
    assert "100000 × 100000" in png_problem(b"\x89PNG\r\n\x1a\n" + chunk)
