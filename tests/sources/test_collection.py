"""The scan: every input is usable or rejected with its reason, and what it keeps does not grow with the pixels."""

import hashlib
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import semshard
from semshard.sources import Decoding, SourceOptions, check_classes, open_source, scan, squash
from semshard.sources.collection import Cache
from semshard.sources.shapes import draw_shape, write_shapes
from semshard.sources.source import Entry, Source
from tests.support.corpus import rejected_files, usable_files
from tests.support.runs import TINY, real

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow, which the package silences


class Held(Source):
    """Files that lie in memory, of two classes in turn."""

    classes = ("a", "b")

    def __init__(self, files):
        self.files = files

    spec = digest = "held"

    def __len__(self):
        return len(self.files)

    def entry(self, number):
        return Entry(f"{number:05d}", number % 2)

    def read(self, number):
        return self.files[number]


def encoded(number, size=(20, 24), kind="PNG"):
    import io

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)).save(file, kind)
    return file.getvalue()


GOOD = [encoded(number) for number in range(4)]
SEEDS = [*usable_files().values(), *(data for data, _ in rejected_files().values())]
SEEDS = [data for data in SEEDS if len(data) < 200_000]


@st.composite
def damaged(draw):
    """A file of the corpus, cut short, or with some bits turned."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    if data and draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    for _ in range(draw(st.integers(0, 6))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@settings(max_examples=60)
@given(st.lists(damaged(), max_size=8), st.sampled_from(["reject", "accept"]), st.sampled_from([0, 16]))
def test_whatever_the_bytes_are_every_input_is_usable_or_rejected(files, truncated, resolution):
    collection = scan(Held([*GOOD, *files]), Decoding(truncated=truncated), resolution)
    assert len(collection.usable) + len(collection.rejects) == len(files) + 4
    assert set(collection.usable) & set(collection.rejects) == set()
    assert all(collection.rejects.values()), "a reason for each"
    assert ((collection.sizes > 0).all(1) == np.isin(np.arange(len(files) + 4), collection.usable)).all()
    for number in collection.usable.tolist():
        assert collection.pixels(number).shape[:2] == tuple(collection.sizes[number])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_damaged_photographs_neither_stop_a_run_nor_get_lost(tmp_path, seed):
    """A third cut short, a third with turned bits: through protect and audit, and the counts add up."""
    random = np.random.default_rng(seed)
    for number, path in enumerate(sorted(real("wild").iterdir())[:24]):
        data = bytearray(path.read_bytes())
        if number % 3 == 1:
            data = data[: random.integers(0, len(data))]
        elif number % 3 == 2:
            for place in random.integers(0, len(data), 20):
                data[place] ^= 1 << random.integers(0, 8)
        folder = tmp_path / "images" / "ab"[number // 3 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(data)
    result = semshard.protect(tmp_path / "images", tmp_path / "out", max_rejects=1.0, **(TINY | {"crop": 32}))
    assert result.samples + result.rejected == 24
    assert result.samples >= 8
    assert semshard.audit(tmp_path / "out").ok


def test_images_up_to_64_pixels_of_one_size_have_a_size_and_all_others_are_photographs():
    assert scan(Held(GOOD)).size == (20, 24)
    assert scan(Held([*GOOD, encoded(9, (20, 25))])).size is None
    large = [encoded(number, (65, 65)) for number in range(4)]
    assert scan(Held(large)).size is None
    assert scan(Held(large), resolution=65).size == (65, 65)
    assert scan(Held([*GOOD, *large]), resolution=16).size == (16, 16)


def test_a_broken_file_does_not_make_photographs_of_the_others():
    collection = scan(Held([*GOOD, b"no image", encoded(9, (7, 300))]))
    assert collection.size == (20, 24)
    assert list(collection.rejects) == [4, 5]


@pytest.mark.parametrize("bound", [0, 5000, 1 << 30])
def test_pixels_are_the_same_whatever_memory_keeps(bound):
    collection = scan(Held(GOOD), keep=bound)
    assert collection.cache._bytes <= bound
    assert collection.in_memory == (bound == 1 << 30)
    stack, kept, rejects = collection.stack(np.array([3, 0, 0]))
    assert (kept.tolist(), rejects) == ([3, 0, 0], {})
    for pixels, number in zip(stack, (3, 0, 0), strict=True):
        assert np.array_equal(pixels, np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8))


def test_a_file_that_changed_or_vanished_since_the_scan_is_refused(tmp_path):
    write_shapes(tmp_path, 20)
    collection = scan(open_source(tmp_path))
    collection.cache = Cache(0)
    Image.fromarray(draw_shape(99)).save(tmp_path / "disc" / "0000000.png")
    (tmp_path / "disc" / "0000010.png").unlink()
    names = [collection.source.entry(number).name for number in range(20)]
    _, kept, rejects = collection.stack(np.arange(20))
    assert len(kept) == 18
    assert rejects[names.index("disc/0000000.png")] == "changed since it was scanned"
    assert "vanished" in rejects[names.index("disc/0000010.png")]


def test_hashes_are_those_of_the_files(tmp_path):
    write_shapes(tmp_path, 20)
    collection = scan(open_source(tmp_path))
    for number in range(20):
        data = (tmp_path / collection.source.entry(number).name).read_bytes()
        assert collection.digest(number) == hashlib.sha256(data).hexdigest()


def test_duplicates_are_counted_by_pixels_and_rejected_where_asked():
    twins = [*GOOD, GOOD[0], encoded(0, kind="BMP"), GOOD[1], encoded(7)]
    collection = scan(Held(twins))
    assert (collection.duplicates, collection.rejects) == (3, {})
    collection = scan(Held(twins), duplicates="reject")
    assert collection.rejects == {
        4: "has the pixels of 00000",
        5: "has the pixels of 00000",
        6: "has the pixels of 00001",
    }
    assert collection.duplicates == 3


def test_equal_bytes_of_another_shape_are_no_duplicate():
    flat = [np.full((20, 24, 3), 9, np.uint8), np.full((24, 20, 3), 9, np.uint8), *GOOD[:2]]
    assert scan(Held(flat)).duplicates == 0


def test_a_class_that_is_left_with_one_image_is_an_error():
    with pytest.raises(semshard.SourceError, match="fewer than two usable images in class b"):
        check_classes(scan(Held([GOOD[0], GOOD[1], GOOD[2], b"", encoded(8), b""])))
    with pytest.raises(semshard.SourceError, match=r"usable images of one class only \(a\)"):
        check_classes(scan(Held([GOOD[0], b"", GOOD[2], b""])))
    with pytest.raises(semshard.SourceError, match="no usable image; the first is rejected because: empty file"):
        scan(Held([b"", b"no", b"", b"no"]))


def test_a_class_of_one_image_is_an_error_before_anything_is_read():
    class Unread(Held):
        def read(self, number):
            raise AssertionError("read")

    with pytest.raises(semshard.SourceError, match="fewer than two images in class b"):
        scan(Unread(GOOD[:3]))


def test_a_side_that_the_format_does_not_hold_is_rejected():
    assert scan(Held([*GOOD, encoded(5, (9, 400))]), longest=300).rejects == {
        4: "400 × 9 pixels, above 300 per side, the maximum of the format"
    }


@pytest.mark.parametrize("size", [(64, 64), (10, 300), (300, 10), (200, 150), (9, 9)])
def test_squashing_keeps_the_mean_and_the_frame(size):
    rows, columns = np.mgrid[: size[0], : size[1]]
    picture = np.stack([rows * 255 // size[0], columns * 255 // size[1], rows * 0 + 80], 2).astype(np.uint8)
    small = squash(picture, 32)
    assert small.shape == (32, 32, 3)
    assert np.abs(small.mean((0, 1)) - picture.mean((0, 1))).max() < 4
    assert small[0, :, 0].max() < 40
    assert small[-1, :, 0].min() > 210


@pytest.mark.slow
def test_what_is_kept_of_an_input_is_a_hundred_bytes():
    source = open_source("shapes:3000")
    scan(open_source("shapes:20"))
    tracemalloc.start()
    collection = scan(source, keep=0)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(collection.usable) == 3000
    assert kept / 3000 < 120
    assert sys.getsizeof(collection.rejects) < 100


def test_labels_are_for_folders():
    with pytest.raises(semshard.SourceError, match="--labels is for folders"):
        open_source("shapes:20", SourceOptions(labels="x.csv"))


@pytest.mark.parametrize(
    ("spec", "kind", "place", "given"),
    [
        ("wds:a/{0,1}.tar,image=jpg", "wds", "a/{0,1}.tar", {"image": "jpg"}),
        ("hf:name,split=a,label=b", "hf", "name", {"split": "a", "label": "b"}),
        ("s3://bucket/imgs", "folder", "s3://bucket/imgs", {}),
        ("wds:s3://b/{0..9}.tar", "wds", "s3://b/{0..9}.tar", {}),
        ("my,folder=odd", "folder", "my,folder=odd", {}),
        ("cifar10:dir,with=comma,split=all", "cifar10", "dir,with=comma", {"split": "all"}),
        ("facescrub:d,study=3,part=test", "facescrub", "d", {"study": "3", "part": "test"}),
        ("c:/windows", "folder", "c:/windows", {}),
    ],
)
def test_what_follows_the_place_is_read_from_the_end(spec, kind, place, given):
    from semshard.sources.open import parse

    opened, where, options = parse(spec)
    assert (opened.name, where, options) == (kind, place, given)
