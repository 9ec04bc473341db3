"""Audits of a part of the shards, and by several processes: what is found does not depend on how it is shared out."""

import io
import shutil

import pytest
from PIL import Image

import semshard
from semshard.inspection.part import shards_of_part
from semshard.shards import Ledger, ledger_path
from tests.support.command import semshard as program
from tests.support.tars import rewrite
from tests.support.workers import workers


def broken(home):
    """A folder in which something is wrong with every shard: bytes, pixels, a row, the ledger, noise of another."""
    shards = home / "shards"
    ledger = Ledger(ledger_path(shards))
    (shards / "00002_stats.json").unlink()
    first, *others = ledger.shard(1)
    clean = (home / "images" / first.source).read_bytes()

    def changed(entry, data):
        if entry.name == f"{first.key}.png":
            return entry, clean
        if entry.name == f"{others[3].key}.png":
            file = io.BytesIO()
            Image.open(io.BytesIO(data)).point(lambda value: min(255, value + 30)).save(file, "PNG")
            return entry, file.getvalue()
        return entry, data

    rewrite(shards / "00001.tar", changed)
    data = bytearray((shards / "00000.tar").read_bytes())
    data[len(data) // 3] ^= 1
    (shards / "00000.tar").write_bytes(data)
    ledger.write_shard(2, ledger.shard(2)[:-1])


def test_failures_come_in_one_order_however_many_processes_find_them(finished):
    broken(finished)
    alone = semshard.audit(finished / "shards", workers=workers(1))
    assert {failure.where for failure in alone.failures} >= {"00000.tar", "00001.tar", "00002_stats.json", "ledger"}
    assert semshard.audit(finished / "shards", workers=workers(2)).to_json() == alone.to_json()


def test_processes_find_the_same_without_the_ledger_and_by_pixels(finished):
    shutil.rmtree(finished / "shards.ledger")
    whole = semshard.audit(finished / "shards", clean=finished / "images", workers=workers(1)).to_json()
    assert whole["compared"] == 40
    assert semshard.audit(finished / "shards", clean=finished / "images", workers=workers(2)).to_json() == whole


def test_parts_together_are_the_whole(finished):
    whole = semshard.audit(finished / "shards")
    parts = [semshard.audit(finished / "shards", part=f"{number}/2") for number in (1, 2)]
    assert [part.part for part in parts] == [{"first": 0, "last": 0, "of": 3}, {"first": 1, "last": 2, "of": 3}]
    for name in ("checked", "compared", "shards"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
    assert max(part.linf_max for part in parts) == whole.linf_max
    assert all(part.ok for part in parts)


def test_a_part_finds_what_is_broken_in_it_and_says_nothing_of_the_rest(finished):
    shards = finished / "shards"
    whole = semshard.audit(shards, only="0-1").to_json()
    assert (whole["ok"], whole["part"]) == (True, {"first": 0, "last": 1, "of": 3})
    (shards / "00002.tar").unlink()
    (shards / "00002.parquet").write_bytes(b"")
    assert semshard.audit(shards, only="0-1").to_json() == whole
    found = [f"{failure.where}: {failure.problem}" for failure in semshard.audit(shards, only="2").failures]
    assert "00002.tar: is missing" in found
    assert any(text.startswith("00002.parquet: has another SHA-256") for text in found)
    printed = program("audit", shards, "--shards", "0-1").stdout
    assert "audit of a part passed" in printed
    assert "shards 0 to 1 of 3" in printed
    program("audit", shards, "--part", "3/3", expect=1)
    program("audit", shards, "--part", "4/3", expect=2)


@pytest.mark.parametrize(
    ("part", "only", "words"),
    [
        ("0/3", None, "write I/N"), ("4/3", None, "write I/N"), ("x", None, "write I/N"), ("9/20", None, "no shard"),
        (None, "3-2", "no shards 3-2"), (None, "10", "no shards 10"), (None, "-1", "like 7 or 100-199"),
        ("1/2", "3", "either"),
    ],
)  # fmt: skip
def test_parts_that_are_none_are_refused(part, only, words):
    with pytest.raises(semshard.SettingError, match=words):
        shards_of_part(10, part, only)
