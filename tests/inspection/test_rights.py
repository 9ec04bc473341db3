"""What published images say besides their pixels is what the manifest promises and the originals give, to the byte."""

import io
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import semshard
from semshard.atomic import json_bytes
from semshard.inspection.rights import broken_promises
from semshard.shards import metadata_in
from semshard.shards.containers import jpeg_with, png_with, webp_with
from semshard.sources.image_metadata import Metadata, MetadataChoice, reservation
from semshard.sources.xmp import read_packet, write_packet
from tests.support.containers import XMP, exif
from tests.support.photo_runs import changed, copied, flat, manifest, passes, photo, pixels, problems, settle
from tests.support.rights import PLACE, PRIVATE, RIGHTS, SERIAL, mining, packet, packets_in, telling, xmp_by_pillow
from tests.support.runs import public_bytes
from tests.support.tars import rewrite

FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
WITH = {"png": png_with, "jpeg": jpeg_with, "webp": webp_with}


def protect(source, out, **settings):
    """With shortcut noise: no network is trained."""
    quick = {"preset": "quick", "method": "sc", "shard_size": 5, "seed": 1}
    return semshard.protect(source, out, **quick | settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Eight photographs in two classes; of each class, one says nothing."""
    home = tmp_path_factory.mktemp("rights")
    for number in range(8):
        path = home / "images" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(photo(number))
        if number < 2:
            image.save(path)
        else:
            path.write_bytes(telling("JPEG", image))
    return home


def made(home, format, keep="none", reserve="none", **settings):
    out = home / "-".join([format, keep, reserve, *settings])
    if not out.exists():
        protect(home / "images", out, format=format, keep_metadata=keep, reserve=reserve, **settings)
    return out


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("keep", "reserve"),
    [("none", "all"), ("icc", "generative-ai"), ("rights", "none"), ("rights", "ai-training"), ("all", "all")],
)
def test_every_image_says_what_was_asked_and_the_pixels_are_those_of_silence(home, format, keep, reserve):
    silent, out = (flat(made(home, format, *what)) for what in (("none", "none"), (keep, reserve)))
    assert set(silent) == set(out)
    for key, parts in out.items():
        data = parts[FORMATS[format]]
        assert parts["json"] == silent[key]["json"]  # with the digest of the pixels
        assert np.array_equal(pixels(data), pixels(silent[key][FORMATS[format]]))
        xmp = xmp_by_pillow(data)
        assert packets_in(data) == (1 if xmp else 0)
        assert xmp == metadata_in(data, format).xmp
        assert (b"plus:DataMining>" in xmp) == (reserve != "none" or b"Ask first" in xmp)
    whole = b"".join(public_bytes(made(home, format, keep, reserve)).values())
    assert whole.count(b"Ask first") == (6 if keep in ("rights", "all") else 0)
    for secret in (PLACE, SERIAL):
        assert secret.encode() not in whole
    passes(made(home, format, keep, reserve), 8)


def test_the_manifest_names_the_reservation_and_the_default_is_none(home):
    assert manifest(made(home, "png"))["settings"]["reserve"] == "none"
    assert manifest(made(home, "png", "none", "all"))["settings"]["reserve"] == "all"
    assert manifest(made(home, "png"))["settings"]["with_location"] is False


def test_equal_runs_give_equal_bytes(home, tmp_path):
    shutil.copytree(home / "images", tmp_path / "images")
    again = made(tmp_path, "webp", "rights", "ai-training")
    assert public_bytes(again) == public_bytes(made(home, "webp", "rights", "ai-training"))


def test_places_are_published_where_both_options_ask(home):
    out = made(home, "png", "all", "none", with_location=True)
    assert PLACE.encode() in b"".join(public_bytes(out).values())
    passes(out, 8)


@pytest.mark.parametrize("settings", [{"resolution": 32}, {}], ids=["resolution", "small"])
def test_images_of_one_size_carry_reservation_and_rights(home, tmp_path, settings):
    source = home / "images"
    if not settings:
        source = tmp_path / "small"
        for number in range(6):
            path = source / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(photo(number)).resize((24, 24))
            path.write_bytes(telling("PNG", image, RIGHTS + PRIVATE if number else mining("DMI-PROHIBITED")))
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    protect(source, plain, **settings)
    protect(source, marked, keep_metadata="rights", reserve="all", **settings)
    silent, out = flat(plain), flat(marked)
    for key, parts in out.items():
        assert parts["json"] == silent[key]["json"]
        assert b"DMI-PROHIBITED<" in xmp_by_pillow(parts["png"])
    assert sum(b"Ask first" in parts["png"] for parts in out.values()) >= len(out) - 2
    passes(marked, len(out))


def test_the_profile_is_still_refused_for_one_size(home, tmp_path):
    with pytest.raises(semshard.SettingError, match="keep_metadata icc"):
        protect(home / "images", tmp_path / "out", keep_metadata="icc", resolution=32)


@pytest.mark.parametrize("dry", [False, True])
def test_lost_rights_are_counted_and_noted(home, tmp_path, dry):
    remarks = []
    options = {"preset": "quick", "method": "sc", "progress": lambda event: remarks.append(event.message)}
    (semshard.plan if dry else semshard.protect)(home / "images", tmp_path / "out", **options)
    (lost,) = [remark for remark in remarks if "rights" in remark]
    assert lost.startswith("6 of 8 images read" if dry else "6 images")
    assert "creator of 6" in lost
    assert "data-mining statement of 6" in lost
    if not dry:
        notes = pq.read_table(tmp_path / "out.ledger" / "index").column("note").to_pylist()
        assert sum(note.startswith("rights not kept: creator, copyright notice") for note in notes) == 6


# What an audit finds


def refilled(metadata, format):
    """Pictures anew with other metadata in place of theirs."""

    def change(data):
        found = metadata_in(data, format)
        if format == "png":
            for kind, body in ((b"iTXt", found.xmp), (b"eXIf", found.exif)):
                if body:
                    at = data.index(kind) - 4
                    data = data[:at] + data[at + 12 + int.from_bytes(data[at : at + 4]) :]
        return WITH[format](metadata, data)

    return change


def rewritten(elements):
    """A packet of those elements in the form that protect writes."""
    return write_packet(read_packet(packet(elements)))


CHEATS = {
    "removed": ("none", "all", Metadata(), "is not the reservation"),
    "weaker": ("none", "all", Metadata(xmp=reservation("ai-training")), "is not the reservation"),
    "another packet": ("icc", "all", Metadata(xmp=XMP), "is not the reservation"),
    "more in it": ("none", "all", Metadata(xmp=rewritten(RIGHTS)), "is not the reservation"),
    "removed rights": ("rights", "all", Metadata(), "lacks the reservation"),
    "weaker in rights": ("rights", "all", Metadata(xmp=reservation("generative-ai")), "lacks the reservation"),
    "a title": ("rights", "none", Metadata(xmp=rewritten("<dc:title>t</dc:title>")), "more than rights"),
    "a place": ("all", "none", Metadata(xmp=rewritten(PRIVATE)), "publishes location"),
    "another form": ("all", "none", Metadata(xmp=packet(RIGHTS)), "not in the form"),
    "no XML": ("all", "none", Metadata(xmp=b"x"), "cannot be read"),
}


@pytest.mark.parametrize("cheat", CHEATS)
@pytest.mark.parametrize("ledger", [True, False], ids=["with ledger", "without"])
def test_another_packet_is_found(home, tmp_path, cheat, ledger):
    keep, reserve, metadata, words = CHEATS[cheat]
    out = copied(made(home, "png", keep, reserve), tmp_path)
    rewrite(out / "00000.tar", changed(refilled(metadata, "png"), "png"))
    settle(out)
    if not ledger:
        shutil.rmtree(tmp_path / "out.ledger")
    assert words in problems(out)


@pytest.mark.parametrize("block", ["xmp", "exif"])
def test_with_the_originals_one_other_byte_is_found(home, tmp_path, block):
    out = copied(made(home, "png", "all", "all"), tmp_path)

    def other(data):
        found = metadata_in(data, "png")
        if not found.exif:
            return data
        replaced = {"xmp": (found.xmp.replace(b"Ask first", b"Ask worst"), found.exif)}.get(
            block, (found.xmp, found.exif.replace(b"A camera", b"B camera"))
        )
        return refilled(Metadata(xmp=replaced[0], exif=replaced[1]), "png")(data)

    for tar in out.glob("*.tar"):
        rewrite(tar, lambda entry, data: (entry, other(data) if entry.name.endswith(".png") else data))
    settle(out)
    what = {"xmp": "XMP packet", "exif": "EXIF"}[block]
    assert problems(out).count(f"its {what} is not what its original gives") == 6
    shutil.rmtree(tmp_path / "out.ledger")
    assert problems(out) == ""  # the images alone cannot show it


@pytest.mark.parametrize("format", FORMATS)
def test_a_weaker_promise_in_the_manifest_is_found_in_the_images(home, tmp_path, format):
    out = copied(made(home, format, "none", "generative-ai"), tmp_path)
    about = manifest(out)
    about["settings"]["reserve"] = "all"
    (out / "manifest.json").write_text(json.dumps(about))
    shutil.rmtree(tmp_path / "out.ledger")
    assert problems(out).count("is not the reservation that the manifest promises") == 8


def test_places_and_serial_numbers_in_exif_break_a_promise():
    def broken(block, **choice):
        return list(broken_promises(Metadata(exif=block), MetadataChoice("all", **choice)))

    assert broken(telling_exif()) == ["its EXIF publishes location", "its EXIF publishes serial numbers"]
    assert broken(telling_exif(), with_location=True) == []
    assert broken(exif()) == []
    assert broken(b"Exif\0\0MM") == ["its EXIF cannot be read"]


def telling_exif():
    return Image.open(io.BytesIO(telling("JPEG"))).info["exif"]


def test_an_old_manifest_without_the_settings_passes(home, tmp_path):
    out = copied(made(home, "png"), tmp_path)
    about = manifest(out)
    about["tool"]["version"] = "0.0.1"
    del about["settings"]["reserve"], about["settings"]["with_location"], about["card"]
    for name in ("README.md", "croissant.json", "../out.ledger/published.json"):
        (out / name).unlink()
    (out / "manifest.json").write_bytes(json_bytes(about))
    passes(out, 8)
