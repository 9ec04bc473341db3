"""A change was killed, then a shard was damaged: it is completed all the same; what was removed is never published."""

import os
import tarfile
from pathlib import Path

import pytest

import semshard
from semshard.shards import Ledger, ledger_path
from tests.support.protection import protect, with_two_late_rejects
from tests.support.runs import public_bytes

KEYS = ["0000000003", "0000100001", "0000100002"]


def killed_after(end, home, change):
    """What `change` leaves where it is killed once the ledger's files that end so are written; and its public bytes."""
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    change()
    after = public_bytes(home / "shards")
    for path, data in before.items():
        if path.exists() and path.parent.name != "index" and not path.name.endswith(end):
            path.write_bytes(data)
    return after


@pytest.fixture
def killed(finished):
    """home of a removal that was killed before a shard was rewritten; its public bytes as they are to be."""
    shards = finished / "shards"
    after = killed_after("index.json", finished, lambda: semshard.remove(shards, keys=KEYS))
    assert semshard.status(shards).change == "remove"
    assert set(KEYS) <= keys_in(shards)
    return finished, after


def keys_in(shards):
    found = set()
    for path in shards.glob("*.tar"):
        with tarfile.open(path) as tar:
            found |= {name.partition(".")[0] for name in tar.getnames()}
    return found


@pytest.fixture
def published(monkeypatch):
    """The names in every tar of a shard that is put in its public place from now on."""
    place, names = os.replace, []

    def place_and_look(source, target, **options):
        place(source, target, **options)
        if str(target).endswith(".tar") and Path(target).parent.name == "shards" and "ledger" not in str(target):
            with tarfile.open(target) as tar:
                names.extend(tar.getnames())

    monkeypatch.setattr(os, "replace", place_and_look)
    return names


def flip(path):
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_repair_completes_a_removal_and_never_publishes_what_was_removed(killed, published, damage):
    home, after = killed
    shards = home / "shards"
    damage(shards / "00000.tar")
    with pytest.raises(semshard.ShardError, match=r"00000\.tar is damaged; semshard repair .* comes first"):
        semshard.remove(shards, keys=KEYS)
    semshard.repair(shards)
    assert public_bytes(shards) == after
    assert published
    assert not [name for name in published if name.partition(".")[0] in KEYS]
    assert semshard.audit(shards).ok
    assert semshard.status(shards).phase == "done"


def test_a_shard_that_cannot_be_made_again_is_named_the_others_follow_and_the_removal_stays_open(killed):
    home, after = killed
    shards, ledger = home / "shards", Ledger(ledger_path(home / "shards"))
    image = home / "images" / next(row.source for row in ledger.shard(0) if row.key not in KEYS)
    kept = image.read_bytes()
    image.unlink()
    flip(shards / "00000.tar")
    with pytest.raises(
        semshard.ShardError, match=rf"^00000\.tar cannot .* 1 of its files .*{image.name}; bring"
    ) as said:
        semshard.repair(shards)
    assert "comes first" not in str(said.value)
    assert public_bytes(shards)["00001.tar"] == after["00001.tar"]
    assert semshard.status(shards).change == "remove"
    image.write_bytes(kept)
    semshard.repair(shards)
    assert public_bytes(shards) == after


@pytest.mark.parametrize("options", [[{}], [{"part": "1/1"}, {"finish": True}]])
def test_protect_makes_a_lost_shard_without_what_was_removed_though_its_file_is_gone(killed, published, options):
    home, after = killed
    shards, ledger = home / "shards", Ledger(ledger_path(home / "shards"))
    (home / "images" / next(row.source for row in ledger.shard(0) if row.key == KEYS[0])).unlink()
    (shards / "00000.tar").unlink()
    for each in options:
        protect(home, **each)
    assert public_bytes(shards) == after
    assert not [name for name in published if name.partition(".")[0] in KEYS]
    assert semshard.audit(shards).ok


def test_where_a_removed_file_is_gone_repair_says_what_to_do(killed, published):
    home, after = killed
    shards, ledger = home / "shards", Ledger(ledger_path(home / "shards"))
    (home / "images" / next(row.source for row in ledger.shard(0) if row.key == KEYS[0])).unlink()
    flip(shards / "00000.tar")
    words = r"^00000\.tar cannot be compared .*; delete it, and the same protect command makes it without them"
    with pytest.raises(semshard.ShardError, match=words):
        semshard.repair(shards)
    (shards / "00000.tar").unlink()
    protect(home)
    assert public_bytes(shards) == after
    assert not [name for name in published if name.partition(".")[0] in KEYS]


def test_repair_makes_a_shard_whose_late_rejects_were_removed_and_added_elsewhere(tmp_path, images):
    shard, (retried, removed) = with_two_late_rejects(tmp_path, images)
    shards = tmp_path / "shards"

    def change():
        semshard.remove(shards, source=[removed])
        semshard.remove(shards, keys=[f"{shard:05d}00000"])
        protect(tmp_path, method="sc", retry_rejects=True)

    after = killed_after(("index.json", "00003.parquet"), tmp_path, change)
    assert retried in [row.source for row in Ledger(ledger_path(shards)).shard(shard)]
    (shards / f"{shard:05d}.tar").unlink()
    semshard.repair(shards)
    assert public_bytes(shards) == after
    assert semshard.audit(shards).ok
