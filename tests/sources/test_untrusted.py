"""No untrusted file stops a run or delays it: its pixels, or one reason in one line, soon."""

import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFile

from semshard.errors import RejectedImage
from semshard.sources.decode import Decoding, decode
from semshard.sources.untrusted import MOST_SCANS
from tests.support import corpus
from tests.support.corpus import picture, saved
from tests.support.outcomes import note, pixels
from tests.support.runs import real

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of odd files in many ways; what counts is the outcome
USABLE, REJECTED = corpus.usable_files(), corpus.rejected_files()
SEEDS = list(USABLE.values()) + [data for data, _ in REJECTED.values() if len(data) > 20]
SETTINGS = [Decoding(), Decoding((1, 2, 3), "accept", 1500, "shrink", "all"), Decoding(keep_metadata="icc")]


# Rejects


@pytest.mark.parametrize("name", REJECTED)
def test_each_bad_file_has_one_short_reason(name):
    data, word = REJECTED[name]
    with pytest.raises(RejectedImage, match=word) as caught:
        decode(data)
    assert len(str(caught.value)) < 120
    assert str(caught.value).isprintable()
    assert "0x" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM"])
def test_truncated_files_are_accepted_on_request_with_what_there_is(kind):
    whole = saved(picture(64, 64), kind)
    cut = whole[: int(len(whole) * 0.8)]
    if kind == "BMP":  # from the bottom up
        top, expected = slice(-20, None), pixels(whole)
    else:
        top, expected = slice(0, 20), pixels(whole)
    with pytest.raises(RejectedImage, match=r"^truncated$"):
        decode(cut)
    decoded = decode(cut, Decoding(truncated="accept"))
    assert np.array_equal(decoded.pixels[top], expected[top])
    assert decoded.pixels.shape == (64, 64, 3)
    assert decoded.note == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_damage_that_is_no_truncation_is_not_accepted():
    with pytest.raises(RejectedImage, match=r"^broken PNG"):
        decode(REJECTED["damaged.png"][0], Decoding(truncated="accept"))


def test_accepting_in_one_thread_does_not_accept_in_another():
    cut, done, wrong = REJECTED["cut.jpg"][0], threading.Event(), []

    def accept():
        while not done.is_set():
            if decode(cut, Decoding(truncated="accept")).note != "truncated":
                wrong.append("no note")

    def reject():
        while not done.is_set():
            try:
                wrong.append(decode(cut))
            except RejectedImage:
                continue

    with ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(work) for work in (accept, reject) * 4]
        time.sleep(0.5)
        done.set()
    assert not [thread.result() for thread in threads if thread.exception()]
    assert wrong == []
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# Work that grows faster than the file


def slow_tiff(strips, side=1000):
    """Strips that name the same half of the picture again and again."""
    body = bytes(side * side // 2)
    offsets = struct.pack(f"<{strips}I", *(8 + number % 100 for number in range(strips)))
    tags = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, 1), (262, 1, 1), (273, strips, 8 + len(body))]
    tags += [(277, 1, 1), (278, 1, side // 2)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, *rest) for tag, *rest in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(body) + len(offsets)) + body + offsets + directory + bytes(4)


def tiff_chain(pages, back_to=0):
    """Pages of one picture; the last one names the page `back_to`, if not 0, as the next."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    places = [264 + number * (len(directory) + 4) for number in range(pages)]
    following = [*places[1:], places[back_to - 1] if back_to else 0]
    return (
        b"II*\0" + struct.pack("<I", 264) + bytes(256) + b"".join(directory + struct.pack("<I", at) for at in following)
    )


def scans(count):
    whole = saved(picture(), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * count + whole[-2:]


GIF_FRAME = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x4c\x01\0"


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (slow_tiff(100_000), "strips lie over each other"),
        (scans(MOST_SCANS), "scans"),
        (scans(20), ""),
        (saved(picture(), "JPEG") + b"\xff\xda" * 500, ""),  # as a film that a phone appends
        (tiff_chain(50_000), "first of 50000 frames"),
        (tiff_chain(3, back_to=1), "first of 3 frames"),
        (corpus.animated("GIF", 1)[:-1] + GIF_FRAME * 100_000 + b";", "first of 100001 frames"),
        (b"P2 16 16 255\n" + b"#\n" * 1_000_000, "truncated"),
        (corpus.png(picture().reshape(40, -1), 8, 2, more=corpus.chunk(b"tEXt", b"k\0" + bytes(99)) * 20_000), ""),
    ],
    ids=["strips", "scans", "few scans", "film", "pages", "loop", "frames", "comments", "texts"],
)  # fmt: skip
def test_work_is_bounded(data, outcome):
    started = time.monotonic()
    try:
        remark = note(data)
    except RejectedImage as reason:
        remark = str(reason)
    assert outcome in remark
    assert bool(outcome) == bool(remark)
    assert time.monotonic() - started < 5


# Any bytes at all


def check(data, decoding, box=None):
    """Whatever the bytes are: pixels, or one reason in one line, soon."""
    started = time.monotonic()
    try:
        outcome = decode(data, decoding, box)
    except RejectedImage as reason:
        outcome = str(reason)
    assert time.monotonic() - started < 10
    if isinstance(outcome, str):
        assert 0 < len(outcome) < 150
        assert outcome.isprintable()
    else:
        assert outcome.pixels.dtype == np.uint8
        assert outcome.pixels.ndim == 3
        assert outcome.pixels.shape[2] == 3
        assert min(outcome.pixels.shape[:2]) >= 8
        assert outcome.pixels.flags.c_contiguous
        assert outcome.note.isprintable()


def damaged(whole, data):
    """The bytes with some of them changed, inserted, removed, or cut off at the end."""
    whole = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, min(len(whole) - 1, data.draw(st.sampled_from([30, 300, 10**9]))))))
        match data.draw(st.sampled_from(["flip", "set", "insert", "remove", "cut"])):
            case "flip" if whole:
                whole[at] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                whole[at : at + 4] = data.draw(st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]))
            case "insert":
                whole[at:at] = data.draw(st.binary(min_size=1, max_size=40))
            case "remove":
                del whole[at : at + data.draw(st.integers(1, 40))]
            case "cut":
                del whole[at:]
    return bytes(whole)


@pytest.mark.slow
@settings(max_examples=700)
@given(st.sampled_from(SEEDS), st.sampled_from(SETTINGS), st.data())
def test_damaged_files_decode_or_are_rejected_and_nothing_else(seed, decoding, data):
    check(damaged(seed, data), decoding)


@settings(max_examples=400)
@given(
    st.sampled_from([b"", *{data[:n] for data in SEEDS for n in (4, 12, 40)}]),
    st.binary(max_size=300),
    st.sampled_from(SETTINGS),
)
def test_arbitrary_bytes_decode_or_are_rejected_and_nothing_else(head, tail, decoding):
    check(head + tail, decoding)


@given(st.sampled_from(SEEDS), st.tuples(*[st.integers(-100, 100)] * 4), st.sampled_from(SETTINGS))
def test_any_box_gives_pixels_or_a_reason(seed, box, decoding):
    check(seed, decoding, box)


@pytest.mark.slow
def test_damaged_photographs_decode_or_are_rejected_and_nothing_else():
    photographs = [path.read_bytes() for path in sorted(real("wild").iterdir())[:40]]

    @settings(max_examples=150)
    @given(st.sampled_from(photographs), st.sampled_from(SETTINGS), st.data())
    def run(seed, decoding, data):
        check(damaged(seed, data), decoding)

    run()
