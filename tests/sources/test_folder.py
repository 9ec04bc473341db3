"""Folders as they are found in the wild: every file ends up somewhere, and no file stops the rest."""

import contextlib
import io
import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semshard.errors import RejectedImage, SourceError
from semshard.sources import Collection, open_source, scan
from semshard.sources.decode import decode, resize
from tests.conftest import real


def picture(size=(16, 16), mode="RGB", kind="PNG", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(pixels).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def lay(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def names(source):
    return [source.entry(n).name for n in range(len(source))]


def test_nested_files_belong_to_the_class_folder(tmp_path):
    lay(tmp_path, {"cat/a.png": picture(), "cat/2019/b/c.png": picture(), "dog/a.png": picture()})
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog")
    assert [(source.entry(n).name, source.entry(n).label) for n in range(3)] == [
        ("cat/2019/b/c.png", 0),
        ("cat/a.png", 0),
        ("dog/a.png", 1),
    ]


def test_hidden_files_and_droppings_do_not_count(tmp_path):
    droppings = {"a/.x.png": b"", "a/.git/y": b"", "a/Thumbs.db": b"", "__MACOSX/b/z": b"", ".DS_Store": b""}
    lay(tmp_path, {"a/1.png": picture(), "b/1.png": picture(), **droppings})
    assert names(open_source(tmp_path)) == ["a/1.png", "b/1.png"]


def test_every_bad_file_is_rejected_with_its_reason_and_the_rest_goes_on(tmp_path):
    good = picture((64, 64), kind="JPEG", quality=95)
    assert len(good) > 2000
    bad = {
        "a/empty.png": (b"", "empty file"),
        "a/text.png": (b"hello", "not an image"),
        "a/cut.jpg": (good[: len(good) // 2], "truncated"),
        "a/tiny.png": (picture((4, 16)), "below 8"),
        "stray.png": (picture(), "not in a class folder"),
    }
    lay(
        tmp_path,
        {"a/ok.png": picture(), "b/ok.jpg": picture(kind="JPEG")} | {name: data for name, (data, _) in bad.items()},
    )
    os.mkfifo(tmp_path / "a" / "pipe.png")
    os.symlink("nowhere", tmp_path / "a" / "dangling.png")
    source = open_source(tmp_path)
    collection = scan(source)
    reasons = {source.entry(n).name: reason for n, reason in collection.rejects.items()}
    expected = {name: word for name, (_, word) in bad.items()}
    expected |= {"a/pipe.png": "not a regular file", "a/dangling.png": "vanished"}
    assert reasons.keys() == expected.keys()
    assert all(expected[name] in reason for name, reason in reasons.items())
    assert [source.entry(int(n)).name for n in collection.usable] == ["a/ok.png", "b/ok.jpg"]


def test_linked_folders_are_entered_once_and_loops_end(tmp_path):
    lay(tmp_path / "in", {"a/1.png": picture(), "b/1.png": picture()})
    lay(tmp_path / "elsewhere", {"2.png": picture()})
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "a" / "more")
    os.symlink(tmp_path / "in", tmp_path / "in" / "b" / "loop")
    assert sorted(names(open_source(tmp_path / "in"))) == ["a/1.png", "a/more/2.png", "b/1.png"]


def test_file_names_may_be_any_bytes(tmp_path):
    odd = [
        b"sp ace.png",
        b"new\nline.png",
        "ünï→.png".encode(),
        b"\xff\xfe.png",
        b"dots.in.name.png",
        b"x" * 250 + b".png",
    ]
    for folder in (b"a", b"b"):
        os.mkdir(os.fsencode(tmp_path) + b"/" + folder)
        for name in odd:
            with open(os.fsencode(tmp_path) + b"/" + folder + b"/" + name, "wb") as file:
                file.write(picture())
    collection = scan(open_source(tmp_path))
    assert len(collection.usable) == 12
    for name in names(collection.source):
        name.encode()  # printable in the ledger


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({}, "no files"),
        ({"1.png": picture()}, "no class folders"),
        ({"a/1.png": picture()}, "one class only"),
        ({"a/1.png": b"", "b/1.png": b"x"}, None),
    ],
)
def test_useless_folders_say_what_is_wrong(tmp_path, files, word):
    lay(tmp_path, files)
    with pytest.raises(SourceError, match=word or "no usable image"):
        scan(open_source(tmp_path))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"there is no folder .*nothing"):
        open_source(tmp_path / "nothing")


def test_mixed_sizes_are_an_error_that_names_the_way_out(tmp_path):
    lay(tmp_path, {"a/1.png": picture((16, 16)), "b/1.png": picture((24, 16))})
    with pytest.raises(SourceError, match=r"16 × 16 \(a/1.png\).*24 × 16 \(b/1.png\).*--resolution"):
        scan(open_source(tmp_path))
    collection = scan(open_source(tmp_path), resolution=12)
    assert collection.size == (12, 12)
    assert collection.pixels(1).shape == (12, 12, 3)


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (21, 21), (9, 300)])
@pytest.mark.parametrize("resolution", [8, 16, 33])
def test_resizing_gives_the_centre_square(size, resolution):
    assert resize(np.zeros((size[1], size[0], 3), np.uint8), resolution).shape == (resolution, resolution, 3)
    ramp = np.repeat(np.linspace(0, 255, size[0]).astype(np.uint8)[None, :, None], size[1], 0).repeat(3, 2)
    assert abs(float(resize(ramp, resolution).mean()) - 127.5) < 4


def test_a_file_that_changed_after_the_scan_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("semshard.sources.collection.CACHE_SHARE", 0)
    lay(tmp_path, {"a/1.png": picture(), "b/1.png": picture(), "b/2.png": picture()})
    collection = scan(open_source(tmp_path))
    (tmp_path / "a/1.png").write_bytes(picture(kind="BMP"))
    (tmp_path / "b/1.png").unlink()
    pixels, kept, rejects = collection.stack(np.arange(3))
    assert kept.tolist() == [2]
    assert pixels.shape == (1, 16, 16, 3)
    assert "changed" in rejects[0]
    assert "vanished" in rejects[1]


def test_pixels_are_the_same_from_memory_and_from_the_file(tmp_path, monkeypatch):
    lay(
        tmp_path,
        {f"{c}/{n}.jpg": picture((16 + 0 * n, 16), kind="JPEG", quality=50 + n) for c in "ab" for n in range(9)},
    )
    kept = scan(open_source(tmp_path)).stack(np.arange(18))[0]
    monkeypatch.setattr("semshard.sources.collection.CACHE_SHARE", 0)
    assert np.array_equal(kept, scan(open_source(tmp_path)).stack(np.arange(18))[0])


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("L", "JPEG"),
     ("RGB", "BMP"), ("RGB", "GIF"), ("RGB", "TIFF"), ("RGB", "WEBP"), ("L", "PPM"), ("I;16", "PNG"), ("LA", "PNG")],
)  # fmt: skip
def test_every_common_kind_of_image_becomes_rgb(mode, kind):
    if mode == "I;16":
        file = io.BytesIO()
        Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)).save(file, "PNG")
        data = file.getvalue()
        assert np.array_equal(decode(data)[..., 0].ravel(), np.arange(256))
    else:
        data = picture(mode=mode, kind=kind)
    assert decode(data).shape == (16, 16, 3)
    assert decode(data).dtype == np.uint8


def test_transparency_is_laid_on_white():
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(file, "PNG")
    assert (decode(file.getvalue()) == 255).all()


def test_the_orientation_of_exif_is_applied():
    image = Image.new("RGB", (16, 8))
    image.putpixel((0, 0), (255, 255, 255))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned clockwise
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    found = decode(file.getvalue())
    assert found.shape == (16, 8, 3)
    assert found[0, 7, 0] == 255


def test_a_decompression_bomb_is_refused_before_it_is_unpacked():
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    with pytest.raises(RejectedImage, match="above the bound"):
        decode(file.getvalue())


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged files in many ways; what counts is the outcome
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]), st.data())
def test_damaged_files_decode_or_are_rejected_and_nothing_else(kind, data):
    whole = bytearray(picture(kind=kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    with contextlib.suppress(RejectedImage):  # any other exception fails the test
        assert decode(cut).dtype == np.uint8


def test_photographs_as_they_were_taken_all_decode():
    for path in real("wild").iterdir():
        pixels = decode(path.read_bytes())
        with Image.open(path) as image:
            assert sorted(pixels.shape[:2]) == sorted(image.size)


def test_portable_greymaps_of_numbers_in_folders_of_the_same_names():
    collection = scan(open_source(real("faces")))
    assert len(collection.usable) == 400
    assert collection.size == (112, 92)
    assert len(collection.source.classes) == 40


def test_threads_that_fill_the_cache_together_lose_no_picture(images, monkeypatch):
    """As when a run goes on: nothing was scanned in this process, and the first batch is loaded by many threads."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(16)))
    known = scan(open_source(images))
    expected = known.stack(known.usable)[0]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            fresh = Collection(known.source, 0, known.size, known.sha256, {})
            for _ in range(2):
                assert np.array_equal(fresh.stack(fresh.usable)[0], expected)
            assert fresh.in_memory
    finally:
        sys.setswitchinterval(interval)
