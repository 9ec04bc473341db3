"""Kept metadata is complete but for what shows the clean picture, and fits every format that is published."""

import io

import numpy as np
import pytest
from PIL import Image

from semshard.shards.pixels import FORMATS, encode_pictures, picture_problem
from semshard.sources.decode import Decoding, decode
from semshard.sources.image_metadata import MOST_BYTES, Metadata
from tests.support import corpus
from tests.support.corpus import picture, saved
from tests.support.outcomes import note, pixels
from tests.support.rights import packet, with_xmp

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files in many ways; what counts is the outcome
ALL = Decoding(keep_metadata="all")
EVERYTHING = Decoding(keep_metadata="all", with_location=True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_metadata_is_kept_without_what_shows_the_clean_picture(kind):
    data = corpus.oriented(6, kind, thumbnail=kind == "JPEG", icc_profile=corpus.profile())
    metadata = decode(data, EVERYTHING).metadata
    assert metadata.icc == corpus.profile()
    assert metadata.exif.startswith(b"Exif\0\0")
    assert b"\xff\xd8\xff" not in metadata.exif
    assert b"note of the maker" not in metadata.exif
    exif = Image.Exif()
    exif.load(metadata.exif)
    assert exif[0x0112] == 1
    assert exif[0x010F] == "A camera"
    assert exif.get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)
    assert exif.get_ifd(0x8769) == {0x9003: "2024:08:15 12:00:00"}
    assert set(exif) == {0x0112, 0x010F, 0x8769, 0x8825}


def test_kept_metadata_can_be_written_and_does_not_turn_the_picture_again():
    decoded = decode(corpus.oriented(6), ALL)
    again = saved(decoded.pixels, "PNG", exif=decoded.metadata.exif)
    assert np.array_equal(pixels(again), decoded.pixels)
    assert Image.open(io.BytesIO(again)).getexif()[0x010F] == "A camera"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    "xmp",
    [packet(attributes='tiff:Orientation="3"'), packet("<tiff:Orientation>3</tiff:Orientation>")],
    ids=["attribute", "element"],
)
def test_xmp_is_kept_and_its_orientation_is_upright(kind, xmp):
    decoded = decode(with_xmp(xmp, kind), ALL)
    if kind != "TIFF":  # Pillow has taken it out
        assert b"<tiff:Orientation>1</tiff:Orientation>" in decoded.metadata.xmp
    assert b"Orientation>3" not in decoded.metadata.xmp
    assert np.array_equal(pixels(with_xmp(decoded.metadata.xmp, "PNG", decoded.pixels)), decoded.pixels)


def test_a_thumbnail_in_xmp_is_dropped():
    for name in ("xmp:Thumbnails", "data:Data"):
        text = f'<{name} xmlns:data="http://ns.google.com/photos/1.0/image/">s3cret</{name}><dc:title>t</dc:title>'
        decoded = decode(with_xmp(packet(text), "JPEG"), EVERYTHING)
        assert b"s3cret" not in decoded.metadata.xmp
        assert b"<dc:title>t</dc:title>" in decoded.metadata.xmp
        assert decoded.note == "XMP thumbnail dropped"


@pytest.mark.parametrize("keep", ["icc", "all"])
def test_a_kept_profile_for_rgb_leaves_the_pixels_as_they_are(keep):
    decoded = decode(saved(picture(), "PNG", icc_profile=corpus.profile()), Decoding(keep_metadata=keep))
    assert np.array_equal(decoded.pixels, picture())
    assert decoded.metadata.icc == corpus.profile()
    assert decoded.note == ""


def test_a_profile_that_is_not_for_rgb_is_converted_and_not_kept():
    data = corpus.cmyk_jpeg(picture(channels=4), profile=corpus.cmyk_profile())
    decoded = decode(data, ALL)
    assert decoded.metadata.icc == b""
    assert np.array_equal(decoded.pixels, pixels(data))


def test_only_the_profile_is_kept_where_only_that_is_asked_for():
    metadata = decode(corpus.oriented(6, icc_profile=corpus.profile()), Decoding(keep_metadata="icc")).metadata
    assert metadata.icc
    assert not metadata.exif
    assert not decode(corpus.oriented(6, icc_profile=corpus.profile())).metadata


# Too large


def described(size):
    """EXIF that describes the picture in so many letters."""
    exif = Image.Exif()
    exif[0x010E] = "x" * size
    return exif.tobytes()


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_kept_fits_every_format(format):
    largest = {"ICC profile": "icc", "EXIF": "exif", "XMP": "xmp"}
    metadata = Metadata(**{field: bytes(MOST_BYTES[name]) for name, field in largest.items()})
    (data,) = encode_pictures(picture()[None], format, metadata=[metadata])
    assert picture_problem(data, format, "all") == ""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_exif_that_is_too_large_is_dropped_with_a_note(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(picture(), kind, exif=described(80_000), icc_profile=corpus.profile(), **options)
    decoded = decode(data, ALL)
    assert np.array_equal(decoded.pixels, picture())
    assert decoded.metadata == Metadata(icc=corpus.profile())
    assert decoded.note.startswith("EXIF of 80,")
    assert decoded.note.endswith(" bytes not kept: too large")


def test_xmp_that_is_too_large_is_dropped_with_a_note():
    def titled(letters):
        return packet(f"<dc:title>{'x' * letters}</dc:title>")

    around = len(decode(with_xmp(titled(1), "PNG"), ALL).metadata.xmp) - 1
    for size in (MOST_BYTES["XMP"], MOST_BYTES["XMP"] + 1):
        decoded = decode(with_xmp(titled(size - around), "PNG"), ALL)
        fits = size == MOST_BYTES["XMP"]
        assert len(decoded.metadata.xmp) == size * fits
        assert decoded.note == ("" if fits else "XMP of 65,001 bytes not kept: too large")


def test_exif_that_only_the_makers_note_made_too_large_is_kept():
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "A camera", {0x927C: bytes(80_000), 0x9003: "2024:08:15 12:00:00"}
    decoded = decode(saved(picture(), "PNG", exif=exif.tobytes()), ALL)
    assert b"2024:08:15" in decoded.metadata.exif
    assert len(decoded.metadata.exif) < 200
    assert decoded.note == ""


@pytest.mark.parametrize("keep", ["icc", "all"])
def test_a_profile_that_is_too_large_is_converted_and_not_kept(keep):
    size = MOST_BYTES["ICC profile"] + 1
    profile = size.to_bytes(4, "big") + corpus.profile()[4:].ljust(size - 4, b"\0")
    data = saved(picture(), "TIFF", icc_profile=profile)
    decoded = decode(data, Decoding(keep_metadata=keep))
    assert not decoded.metadata
    assert np.array_equal(decoded.pixels, pixels(data))
    assert not np.array_equal(decoded.pixels, picture())
    assert decoded.note == "ICC profile of 1,048,577 bytes not kept: too large; converted from the profile Display P3"
    assert note(data) == "converted from the profile Display P3"


def test_nothing_is_said_of_a_large_block_that_was_not_asked_for():
    data = saved(picture(), "PNG", exif=described(80_000))
    assert note(data) == note(data, keep_metadata="icc") == ""
