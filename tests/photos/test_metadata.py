"""What photographs tell besides their pixels is published as asked, and no more."""

import io

import pytest
from PIL import Image

import semshard
from tests.support.corpus import profile, saved
from tests.support.photo_runs import changed, copied, flat, passes, photo, problems, protect, settle, write_photos
from tests.support.rights import packet
from tests.support.runs import public_bytes
from tests.support.tars import rewrite

SECRET = b"whereabouts-7731"


def telling(number):
    """A JPEG with camera, place, comment, XMP and a wide colour profile."""
    image = Image.fromarray(photo(number))
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "A camera", SECRET.decode()
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    xmp = packet(f"<dc:title>{SECRET.decode()}</dc:title>")
    options = {"exif": exif.tobytes(), "xmp": xmp, "comment": SECRET, "icc_profile": profile()}
    return saved(image, "JPEG", quality=95, **options)


@pytest.fixture(scope="module")
def telling_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("telling")
    for number in range(8):
        path = home / "images" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(telling(number))
    for keep in ("none", "icc", "all"):
        for format in ("png", "jpeg", "webp"):
            protect(home / "images", home / f"{keep}-{format}", keep_metadata=keep, format=format, steps=1)
    return home


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("keep", ["none", "icc", "all"])
def test_metadata_is_published_as_asked_and_no_more(telling_home, keep, format):
    out = telling_home / f"{keep}-{format}"
    for parts in flat(out).values():
        image = Image.open(io.BytesIO(parts[{"jpeg": "jpg"}.get(format, format)]))
        image.load()
        exif = image.getexif()
        assert ("icc_profile" in image.info) == (keep != "none")
        assert (exif.get(0x010F) == "A camera") == (keep == "all")
        assert not exif.get_ifd(0x8825)
        assert bool(exif) == (keep == "all")
        assert ("xmp" in image.info) == (keep == "all")
        assert "comment" not in image.info
    secret = any(SECRET in data for data in public_bytes(out).values())
    assert secret == (keep == "all")
    passes(out, 8)


def test_metadata_that_a_file_cannot_hold_stops_nothing(tmp_path):
    write_photos(tmp_path / "images")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + b"<a/>" * 20_000 + b"</x:xmpmeta>"
    (tmp_path / "images" / "a" / "much.webp").write_bytes(saved(photo(20), "WEBP", lossless=True, xmp=xmp))
    result = protect(tmp_path / "images", tmp_path / "out", keep_metadata="all", format="jpeg", max_rejects=0.2)
    assert result.samples + result.rejected == 9
    passes(tmp_path / "out", result.samples)


@pytest.mark.parametrize("keep", ["none", "icc"])
def test_an_audit_finds_exif_that_was_slipped_in(telling_home, tmp_path, keep):
    out = copied(telling_home / f"{keep}-jpeg", tmp_path)
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    head = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    segment = b"\xff\xe1" + (len(head) + 2).to_bytes(2) + head
    rewrite(out / "00000.tar", changed(lambda data: data[:20] + segment + data[20:]))
    settle(out)
    assert "carries more than pixels" in problems(out)


def test_metadata_cannot_be_kept_where_images_are_squared(telling_home, tmp_path):
    with pytest.raises(semshard.SettingError, match="keep_metadata"):
        protect(telling_home / "images", tmp_path / "out", keep_metadata="all", resolution=40)
    assert not (tmp_path / "out.ledger" / "run.json").exists()
