"""A scan that is killed goes on from the blocks that it has finished, and finds what a quiet one finds."""

import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import semshard
from semshard.engine import make_runtime
from semshard.protection.request import Request
from semshard.protection.scan import finished_blocks, scan_source
from semshard.shards import Ledger
from semshard.sources import Decoding, open_source, scan, scanning
from semshard.sources.shapes import draw_shape
from semshard.sources.source import Entry, Source
from tests.support.forks import forks
from tests.support.runs import TINY, public_bytes
from tests.support.workers import processes

BLOCK, BROKEN = 8, (3, 20)


class Counted(Source):
    """Pictures of two classes in turn: two of them broken, two the same. It counts what is read, and ends by a kill."""

    classes = ("a", "b")
    spec = digest = "counted"
    broken = BROKEN

    def __init__(self, count=45, kill_at=None):
        self.count, self.kill_at, self.seen = count, kill_at, []

    def __len__(self):
        return self.count

    def entry(self, number):
        return Entry(f"{number:05d}", number % 2)

    def read(self, number):
        if number == self.kill_at:
            raise KeyboardInterrupt
        self.seen.append(number)
        return b"broken" if number in self.broken else draw_shape(number if number != 40 else 1)


def blocks(ledger, source, decoding=None, numbers=None):
    return finished_blocks(ledger, source, decoding or Decoding(), 0, None, numbers)


def equal(one, other):
    for name in ("sha256", "sizes", "labels", "lengths"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ("rejects", "notes", "duplicates", "classes", "size"):
        assert getattr(one, name) == getattr(other, name)
    assert list(one.rejects) == list(other.rejects)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, block=BLOCK)


@pytest.mark.parametrize("kill_at", [0, 7, 8, 30, 44])
@pytest.mark.parametrize("duplicates", ["keep", "reject"])
def test_only_what_is_not_in_a_finished_block_is_read_again(ledger, kill_at, duplicates):
    killed = Counted(kill_at=kill_at)
    with pytest.raises(KeyboardInterrupt):
        scan(killed, finished=blocks(ledger, killed))
    first = BLOCK * len(list((ledger.path / "scan").glob("*")))
    assert kill_at - 2 * BLOCK < first <= kill_at
    again = Counted()
    found = scan(again, duplicates=duplicates, finished=blocks(ledger, again))
    assert sorted(again.seen) == sorted({*range(first, 45), *BROKEN})
    equal(found, scan(Counted(), duplicates=duplicates))
    whole = Counted()
    equal(scan(whole, duplicates=duplicates, finished=blocks(ledger, whole)), found)
    assert whole.seen == list(BROKEN)


def test_a_reject_that_was_mended_since_is_usable(ledger):
    source, mended = Counted(), Counted()
    scan(source, finished=blocks(ledger, source))
    mended.broken = (20,)
    assert list(scan(mended, finished=blocks(ledger, mended)).rejects) == [20]
    again = Counted()
    again.broken = (20,)
    scan(again, finished=blocks(ledger, again))
    assert again.seen == [20], "it is in its block now"


@pytest.mark.parametrize("damage", ["empty", "turned bit", "cut", "of another block", "gone"])
def test_a_block_that_is_not_whole_or_of_other_inputs_is_scanned_again(ledger, damage):
    source = Counted()
    expected = scan(source, finished=blocks(ledger, source))
    path, random = ledger.path / "scan" / "00002.parquet", np.random.default_rng(0)
    whole = path.read_bytes()
    for _ in range(40 if damage == "turned bit" else 1):
        data = bytearray(whole)
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        other = (ledger.path / "scan" / "00001.parquet").read_bytes()
        path.write_bytes({"empty": b"", "cut": whole[:-9], "of another block": other}.get(damage, bytes(data)))
        if damage == "gone":
            path.unlink()
        again = Counted()
        equal(scan(again, finished=blocks(ledger, again)), expected)
        is_read = again.seen == [3, *range(16, 24)]
        assert is_read or (again.seen == [*BROKEN] and damage == "turned bit"), "a bit that means nothing was turned"
        assert path.read_bytes() == whole


def test_blocks_of_other_settings_or_of_another_listing_are_not_used(ledger):
    source = Counted()
    scan(source, finished=blocks(ledger, source))
    for other, decoding, numbers in (
        (Counted(), Decoding(background=(0, 0, 0)), None),
        (Counted(44), None, None),
        (Counted(), None, list(range(45))),
    ):
        if len(other) == 44:
            other.digest = "another listing"
        scan(other, decoding, numbers=numbers, finished=blocks(ledger, other, decoding, numbers))
        assert len(other.seen) == len(other)


def test_some_inputs_of_a_source_are_kept_in_blocks_too(ledger):
    numbers = list(range(3, 44, 2))
    killed, again = Counted(kill_at=37), Counted()
    with pytest.raises(KeyboardInterrupt):
        scan(killed, numbers=numbers, finished=blocks(ledger, killed, numbers=numbers))
    found = scan(again, numbers=numbers, finished=blocks(ledger, again, numbers=numbers))
    assert again.seen == [3, *numbers[16:]]
    equal(found, scan(Counted(), numbers=numbers))


def test_processes_finish_the_blocks_that_one_process_finishes(tmp_path, images):
    (images / "disc" / "a.png").write_bytes(b"no image")
    found, kept = [], []
    for count in (1, 2):
        ledger = Ledger(tmp_path / f"ledger{count}", block=BLOCK)
        ledger.path.mkdir()
        with processes(count):
            source = open_source(images)
            found.append(scan_source(source, Request(images), make_runtime("cpu"), ledger))
        kept.append({path.name: path.read_bytes() for path in (ledger.path / "scan").iterdir()})
    equal(*found)
    assert kept[0] == kept[1]
    assert len(kept[0]) == 6


# --- in a run ---------------------------------------------------------------------------------------------------------

# The program, with blocks of 8 inputs, which ends itself by SIGKILL as soon as the third block is finished.
KILLED = """
import os, signal
place = os.replace
def place_and_die(source, target, **options):
    place(source, target, **options)
    if str(target).endswith("scan/00002.parquet"):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = place_and_die
from semshard.shards import Ledger
Ledger.__init__.__kwdefaults__ = {"block": 8}
from semshard_cli.main import main
main()
"""


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_scans_does_not_scan_again_what_is_done(finished, monkeypatch):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    words = ["protect", finished / "images", "--out", finished / "again", *options]
    assert forks().start(*words, program=KILLED).wait(timeout=300) == -signal.SIGKILL
    assert not (finished / "again.ledger" / "index.json").exists()
    seen, scan_one = [], scanning._scan_one
    monkeypatch.setattr(Ledger.__init__, "__kwdefaults__", {"block": 8})
    monkeypatch.setattr(scanning, "_scan_one", lambda *given: seen.append(given[2]) or scan_one(*given))
    semshard.protect(finished / "images", finished / "again", **TINY)
    assert sorted(seen) == list(range(24, 40))
    assert public_bytes(finished / "again") == public_bytes(finished / "shards")
    assert len(list((finished / "again.ledger" / "index").iterdir())) == 5
    assert not list((finished / "again.ledger" / "scan").iterdir())


@pytest.mark.slow
def test_changes_of_a_list_in_many_blocks_end_in_the_bytes_that_they_have_in_one(finished, monkeypatch):
    outs = []
    for block in (1 << 16, 7):
        monkeypatch.setattr(Ledger.__init__, "__kwdefaults__", {"block": block})
        home = shutil.copytree(finished / "images", finished / str(block))
        (home / "disc" / "a.png").write_bytes(b"no image")
        out = finished / f"out{block}"
        semshard.protect(home, out, max_rejects=0.1, **TINY)
        semshard.remove(out, keys=["0000000003", "0000100001"])
        for number, name in enumerate(("disc/a.png", "ring/new.png")):
            Image.fromarray(draw_shape(8000 + number)).save(home / name)
        assert semshard.protect(home, out, extend=True, retry_rejects=True, **TINY).samples == 40
        assert semshard.audit(out).ok
        assert len(list((finished / f"out{block}.ledger" / "index").iterdir())) == (1 if block > 7 else 6)
        outs.append(public_bytes(out))
    assert outs[0] == outs[1]
