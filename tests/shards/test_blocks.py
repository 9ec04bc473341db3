"""What is put among the pixels of a file comes back from it, as bytes, and by Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from semshard.errors import ShardError
from semshard.settings import RESERVATIONS
from semshard.shards import metadata_in, picture_problem
from semshard.shards.fields import metadata_blocks
from semshard.shards.pixels import FORMATS, decode_picture
from semshard.sources.image_metadata import Metadata, reservation
from tests.support.containers import ICC, XMP, encode, exif, pixels, smooth
from tests.support.rights import packets_in, xmp_by_pillow


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(),
        Metadata(ICC),
        Metadata(exif=exif()),
        Metadata(xmp=XMP),
        Metadata(ICC, exif(), XMP),
        Metadata(ICC * 40),
    ],
    ids=["none", "icc", "exif", "xmp", "all", "large"],
)
def test_metadata_comes_back(format, metadata):
    assert metadata_in(encode(pixels(), format, metadata=metadata), format) == metadata


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("reserve", [name for name in RESERVATIONS if name != "none"])
def test_a_reservation_changes_no_pixel_and_is_found_by_pillow_and_in_the_bytes(format, reserve):
    plain = encode(smooth(), format)
    marked = encode(smooth(), format, metadata=Metadata(xmp=reservation(reserve)))
    assert np.array_equal(decode_picture(marked, format, "xmp"), decode_picture(plain, format))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(marked))), np.asarray(Image.open(io.BytesIO(plain))))
    assert xmp_by_pillow(marked) == reservation(reserve)
    assert packets_in(marked) == 1
    assert f">http://ns.useplus.org/ldf/vocab/{RESERVATIONS[reserve]}<".encode() in marked
    at = marked.index(reservation(reserve))
    assert {"png": b"iTXtXML:com.adobe.xmp\0\0\0\0\0", "jpeg": b"http://ns.adobe.com/xap/1.0/\0",
            "webp": b"XMP " + struct.pack("<I", len(reservation(reserve)))}[format] == marked[:at][
        -{"png": 26, "jpeg": 29, "webp": 8}[format] :
    ]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("keep", ["none", "icc", "rights", "all"])
@pytest.mark.parametrize("reserve", ["none", "all"])
def test_a_file_may_hold_the_blocks_that_the_settings_name(format, keep, reserve):
    blocks = metadata_blocks(keep, reserve)
    for metadata, allowed in (
        (Metadata(ICC), keep in ("icc", "all")),
        (Metadata(exif=exif()), keep == "all"),
        (Metadata(xmp=XMP), keep in ("rights", "all") or reserve != "none"),
    ):
        problem = picture_problem(encode(pixels(), format, metadata=metadata), format, blocks)
        assert ("more than pixels" in problem) == (not allowed)


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_packet_is_found(format):
    once = encode(pixels(), format, metadata=Metadata(exif=exif(), xmp=XMP))
    if format == "png":
        at = once.index(b"iTXt") - 4
        part = once[at : at + 12 + int.from_bytes(once[at : at + 4])]
    elif format == "jpeg":
        at = once.index(b"http://ns.adobe.com") - 4
        part = once[at : at + 2 + int.from_bytes(once[at + 2 : at + 4])]
    else:
        at = once.index(b"XMP ")
        part = once[at:]
        once = once[:4] + struct.pack("<I", len(once) - 8 + len(part)) + once[8:]
    with pytest.raises(ShardError, match="twice"):
        metadata_in(once[:at] + part + once[at:], format)


def test_a_profile_that_would_grow_is_not_unpacked():
    bomb = b"ICC Profile\0\0" + zlib.compress(bytes(1 << 24))
    chunk = struct.pack(">I", len(bomb)) + b"iCCP" + bomb + struct.pack(">I", zlib.crc32(b"iCCP" + bomb))
    plain = encode(pixels(), "png")
    with pytest.raises(ShardError, match="too large"):
        metadata_in(plain[:33] + chunk + plain[33:], "png")


@pytest.mark.parametrize("format", FORMATS)
def test_any_cut_is_found(format):
    data = encode(pixels(5, 6), format, metadata=Metadata(exif=exif(), xmp=XMP))
    for cut in range(len(data)):
        with pytest.raises(ShardError):
            metadata_in(data[:cut], format)
