"""Rights come with a picture where they are asked for, places and serial numbers only where both options ask."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from semshard.errors import SettingError
from semshard.settings import RESERVATIONS
from semshard.sources.decode import Decoding, decode
from semshard.sources.image_metadata import DROPPED, MOST_BYTES, Metadata, count_dropped, reservation
from semshard.sources.private_metadata import private_in_exif
from semshard.sources.rights import MINING, VOCABULARY, kinds, mining_of, stricter
from semshard.sources.xmp import read_packet
from tests.support.corpus import picture, saved
from tests.support.outcomes import note, pixels
from tests.support.rights import (
    BY_IIM,
    KINDS,
    PLACE,
    PRIVATE,
    RIGHTS,
    SERIAL,
    STATED,
    exif,
    iim,
    mining,
    packet,
    telling,
    with_iim,
    with_xmp,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files in many ways; what counts is the outcome
CHOICES = [
    {"keep_metadata": keep, "reserve": reserve}
    for keep, reserve in itertools.product(("none", "icc", "rights", "all"), RESERVATIONS)
]


def kept(data, **choice):
    return decode(data, Decoding(**choice)).metadata


def properties(data, **choice):
    return {one.name: one for one in read_packet(kept(data, **choice).xmp)}


def texts(one):
    return [text for _, text in one.walk() if text]


# What is kept


@pytest.mark.parametrize("kind", KINDS)
def test_rights_of_xmp_are_kept_and_nothing_else(kind):
    metadata = kept(telling(kind), keep_metadata="rights")
    assert all(text.encode() in metadata.xmp for text in STATED)
    assert not metadata.exif
    assert not metadata.icc
    for other in (PLACE, SERIAL, "Anything", "a program", "A camera"):
        assert other.encode() not in metadata.xmp


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", ["rights", "all"])
def test_rights_of_exif_become_xmp(kind, keep):
    found = properties(saved(picture(), kind, exif=exif()), keep_metadata=keep)
    creator, notice = (found[("http://purl.org/dc/elements/1.1/", name)] for name in ("creator", "rights"))
    assert texts(creator) == ["Ann", "Bo"]
    said = "?? Ann" if kind == "TIFF" else "© Ann"  # so Pillow has written it
    assert texts(notice)[0] == said
    if keep == "all":
        assert said.encode() in kept(saved(picture(), kind, exif=exif()), keep_metadata=keep).exif


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("keep", ["rights", "all"])
def test_rights_of_iptc_become_xmp(kind, keep):
    found = properties(with_iim(BY_IIM, kind), keep_metadata=keep)
    assert [texts(one) for _, one in sorted(found.items()) if one.name[1] != "DataMining"] == [
        ["The agency"], ["Ännchen", "Bo"], ["© Ann", "x-default"],
    ]  # fmt: skip


def test_rights_of_png_text_become_xmp():
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Ann")
    text.add_itxt("Copyright", "© Ann")
    found = properties(saved(picture(), "PNG", pnginfo=text), keep_metadata="rights")
    assert [texts(one) for _, one in sorted(found.items())] == [["Ann"], ["© Ann", "x-default"]]


def test_xmp_comes_before_what_other_blocks_say():
    data = with_xmp(packet(RIGHTS), "JPEG", exif=exif(artist="Somebody else", notice="another"))
    xmp = kept(data, keep_metadata="rights").xmp
    assert b"Somebody else" not in xmp
    assert b"Ann &amp; Bo" in xmp


@pytest.mark.parametrize("kind", KINDS)
def test_rights_leave_the_pixels_as_without_metadata(kind):
    data = telling(kind)
    for choice in ({"keep_metadata": "rights"}, {"reserve": "all"}, {"keep_metadata": "rights", "reserve": "all"}):
        assert np.array_equal(pixels(data, **choice), pixels(data))


# What is never published


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_no_place_and_no_serial_number_without_both_options(kind, choice):
    metadata = kept(telling(kind), **choice)
    for block in (metadata.exif, metadata.xmp):
        for coding in ("utf-8", "utf-16-le", "utf-16-be"):
            assert PLACE.encode(coding) not in block
            assert SERIAL.encode(coding) not in block
    if metadata.exif:
        assert private_in_exif(metadata.exif) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_places_and_serial_numbers_are_published_where_both_options_ask(kind):
    metadata = kept(telling(kind), keep_metadata="all", with_location=True)
    read = Image.Exif()
    read.load(metadata.exif)
    assert read.get_ifd(0x8825)[2] == (48.0, 8.0, 0.0)
    assert read.get_ifd(0x8769)[0xA431] == SERIAL
    assert metadata.xmp.count(PLACE.encode()) == PRIVATE.count(PLACE)
    assert metadata.xmp.count(SERIAL.encode()) == PRIVATE.count(SERIAL)


def test_a_place_needs_all_metadata():
    from semshard.settings import protect_config

    with pytest.raises(SettingError, match="with_location"):
        protect_config("quick", None, "float32", {"with_location": True, "keep_metadata": "rights"})


@pytest.mark.parametrize(
    "name",
    [
        "exif:GPSAltitude", "exif:GPSTimeStamp", "photoshop:State", "photoshop:Country", "core:CountryCode",
        "ext:LocationCreated", "core:CiAdrCity", "plus:LicensorCity", "drone:GpsLatitude", "drone:AbsoluteAltitude",
        "drone:DroneSerialNumber", "aux:LensSerialNumber", "crs:CameraSerialNumber", "xmp:BodySerialNumber",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "form",
    [
        "<{0}>s3cret</{0}>",
        '<dc:title {0}="s3cret">x</dc:title>',
        "<dc:title><rdf:Seq><{0}>s3cret</{0}></rdf:Seq></dc:title>",
    ],
)
def test_private_fields_are_known_by_name_at_any_depth(name, form):
    data = with_xmp(packet(form.format(name)), "PNG")
    assert b"s3cret" not in kept(data, keep_metadata="all").xmp
    assert b"s3cret" in kept(data, keep_metadata="all", with_location=True).xmp
    assert "dropped" in note(data, keep_metadata="all")


def test_no_tag_of_exif_outside_the_standard_is_published():
    about = Image.Exif()
    about[0x010F], about[0x8769] = "A camera", {0x9003: "2024:08:15 12:00:00", 0xFDE9: SERIAL, 0xEA1C: b"s3cret"}
    block = kept(saved(picture(), "PNG", exif=about.tobytes()), keep_metadata="all").exif
    assert b"2024:08:15" in block
    assert SERIAL.encode() not in block
    assert b"s3cret" not in block


# What is lost, in words


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", ["none", "icc"])
def test_a_note_names_the_rights_that_the_default_loses(kind, keep):
    lost = note(telling(kind), keep_metadata=keep)
    assert lost == f"{DROPPED}creator, copyright notice, credit, data-mining statement, licence"
    assert kept(telling(kind), keep_metadata=keep) == Metadata()


def test_a_statement_that_the_reservation_covers_is_not_lost():
    data = with_xmp(packet(mining("DMI-PROHIBITED")), "JPEG")
    assert note(data) == f"{DROPPED}data-mining statement"
    assert note(data, reserve="generative-ai") == ""


def test_a_note_names_what_is_dropped_besides_rights():
    assert note(telling("JPEG"), keep_metadata="rights").split("; ") == [
        "metadata besides rights dropped", "location and serial numbers dropped",
    ]  # fmt: skip
    assert note(telling("JPEG"), keep_metadata="all") == "location and serial numbers dropped"
    assert note(telling("JPEG"), keep_metadata="all", with_location=True) == ""
    assert note(with_xmp(packet(RIGHTS), "JPEG"), keep_metadata="rights") == ""


def test_lost_rights_are_counted_by_kind():
    notes = ["16 bits per channel; " + DROPPED + "creator, credit", DROPPED + "creator", "CMYK", ""]
    assert count_dropped(notes) == (2, {"creator": 2, "credit": 1})


def test_a_plain_file_says_nothing():
    for kind in KINDS:
        assert note(saved(picture(), kind)) == note(saved(picture(), kind), keep_metadata="rights") == ""


# What is reserved

KEYS = ["", "DMI-UNSPECIFIED", "DMI-ALLOWED", "DMI-PROHIBITED-GENAIMLTRAINING", "DMI-PROHIBITED-AIMLTRAINING",
        "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING", "DMI-PROHIBITED", "DMI-PROHIBITED-SEECONSTRAINT"]  # fmt: skip


@pytest.mark.parametrize("reserve", [name for name in RESERVATIONS if name != "none"])
@pytest.mark.parametrize("stated", KEYS)
@pytest.mark.parametrize("keep", ["none", "rights", "all"])
def test_there_is_one_statement_and_it_is_never_weaker(stated, reserve, keep):
    elements = RIGHTS.replace(mining("DMI-PROHIBITED-GENAIMLTRAINING"), mining(stated) if stated else "")
    xmp = kept(with_xmp(packet(elements), "JPEG"), keep_metadata=keep, reserve=reserve).xmp
    assert xmp.count(b"plus:DataMining>") == 2
    key = mining_of(read_packet(xmp))
    assert f">{VOCABULARY}{key}<".encode() in xmp
    if stated.endswith("SEECONSTRAINT"):
        assert key == "DMI-PROHIBITED"
    else:
        assert KEYS.index(key) == max(KEYS.index(stated), KEYS.index(RESERVATIONS[reserve]))
    assert (b"Ask first" in xmp) == (keep != "none")


@pytest.mark.parametrize(
    "written",
    ["http://ns.useplus.org/LDF/vocab/DMI-PROHIBITED", " https://ns.useplus.org/ldf/vocab/dmi-prohibited ",
     "DMI-PROHIBITED", "Prohibited", "Prohibited, see plus:OtherConstraints"],
)  # fmt: skip
@pytest.mark.parametrize(
    "form", ["<plus:DataMining>{0}</plus:DataMining>", '<plus:DataMining rdf:resource="{0}"/>', None]
)
def test_other_ways_to_write_a_statement_are_understood(written, form):
    xmp = packet(form.format(written)) if form else packet(attributes=f'plus:DataMining="{written}"')
    after = kept(with_xmp(xmp, "JPEG"), reserve="generative-ai").xmp
    assert mining_of(read_packet(after)) == "DMI-PROHIBITED"


def test_nothing_is_reserved_by_default():
    assert reservation("none") == b""
    assert kept(saved(picture(), "PNG")) == Metadata()
    assert stricter("DMI-ALLOWED", "none") == "DMI-ALLOWED"
    with pytest.raises(SettingError, match="reserve"):
        Decoding(reserve="some")


def test_an_existing_statement_is_kept_as_it_is_where_nothing_is_reserved():
    data = with_xmp(packet(mining("DMI-PROHIBITED-SEECONSTRAINT")), "PNG")
    (one,) = properties(data, keep_metadata="rights").values()
    assert one.name == MINING
    assert one.text == VOCABULARY + "DMI-PROHIBITED-SEECONSTRAINT"


def test_the_reservation_is_the_same_bytes_in_every_picture():
    for reserve in RESERVATIONS:
        blocks = {kept(saved(picture(seed=seed), kind), reserve=reserve).xmp for kind in KINDS for seed in range(2)}
        assert blocks == {reservation(reserve)}


# Too much, or damaged


def test_where_everything_is_too_large_rights_remain():
    data = with_xmp(packet(RIGHTS + f"<xmp:Label>{'x' * MOST_BYTES['XMP']}</xmp:Label>"), "PNG")
    decoded = decode(data, Decoding(keep_metadata="all", reserve="all"))
    assert b"Ask first" in decoded.metadata.xmp
    assert b"DMI-PROHIBITED<" in decoded.metadata.xmp
    assert "bytes not kept: too large" in decoded.note


def test_rights_that_are_too_large_are_lost_with_a_note_and_the_reservation_stays():
    data = saved(picture(), "PNG", exif=exif(artist="y" * 70_000))
    decoded = decode(data, Decoding(keep_metadata="rights", reserve="all"))
    assert decoded.metadata.xmp == reservation("all")
    assert DROPPED + "creator, copyright notice" in decoded.note


def test_a_million_names_fill_no_memory():
    many = with_iim(iim([((2, 80), b"x")] * 100_000), "TIFF")
    for data in (many, saved(picture(), "PNG", exif=exif(artist=";y" * 1_000_000))):
        decoded = decode(data, Decoding(keep_metadata="rights"))
        assert len(decoded.metadata.xmp) <= MOST_BYTES["XMP"]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize(
    "data", [b"", b"\x1c", b"\x1c\x02\x50\xff\xff", bytes(99), b"\x1c\x02\x50\x84\xff\xff\xff\xff", BY_IIM[:-3]]
)
def test_damaged_iptc_stops_nothing(kind, data):
    assert decode(with_iim(data, kind), Decoding(keep_metadata="rights", reserve="all")).metadata.xmp


def test_damaged_exif_stops_nothing():
    good = exif()
    for place in range(6, len(good), 5):
        bad = good[:place] + b"\xff" + good[place + 1 :]
        for choice in ({}, {"keep_metadata": "rights"}, {"keep_metadata": "all"}):
            decoded = decode(saved(picture(), "PNG", exif=bad), Decoding(**choice))
            assert not decoded.metadata.exif or private_in_exif(decoded.metadata.exif) == set()


def test_text_that_xml_cannot_hold_is_cleaned():
    data = saved(picture(), "PNG", exif=exif(artist='A\x01nn <&>"\ufffe', notice=" \x00 "))
    (creator,) = properties(data, keep_metadata="rights").values()
    assert texts(creator)[0].startswith('Ann <&>"')
    assert kinds([creator]) == ["creator"]


def test_the_pictures_can_be_read_again():
    for kind in KINDS:
        metadata = kept(telling(kind), keep_metadata="rights", reserve="all")
        again = with_xmp(metadata.xmp, kind)
        assert kept(again, keep_metadata="rights", reserve="all") == metadata
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(saved(picture(), "PNG", exif=exif())))), picture())
