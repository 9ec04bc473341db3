"""Repair: whatever is damaged comes back with the bytes that it had, or is refused with the reason."""

import json

import pytest

import semshard
from semshard.shards import Ledger, ledger_path
from tests.support.protection import protect
from tests.support.runs import of_shards, public_bytes


def flip(path, at=1000):
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    path.write_bytes(data)


def test_every_kind_of_damage_is_repaired_to_the_same_bytes(finished):
    shards = finished / "shards"
    before = public_bytes(shards)
    flip(shards / "00000.tar")
    (shards / "00000_stats.json").write_text("{")
    (shards / "00001.parquet").unlink()
    (shards / "00002.tar").unlink()
    flip(shards / "manifest.json", 40)
    result = semshard.repair(shards)
    assert public_bytes(shards) == before
    assert set(result.repaired) == {"00000.tar", "00001.parquet", "00002.tar", "manifest.json"}
    assert (result.remade, result.shards) == (2, 3)
    assert not (finished / "shards.ledger" / "repair").exists()
    assert semshard.audit(shards).ok


def test_a_folder_that_is_gone_is_made_again_and_one_that_is_whole_is_left_alone(finished):
    shards = finished / "shards"
    before = public_bytes(shards)
    for path in shards.iterdir():
        path.unlink()
    shards.rmdir()
    assert semshard.repair(shards).remade == 3
    assert public_bytes(shards) == before
    times = {path: path.stat().st_mtime_ns for path in shards.iterdir()}
    assert semshard.repair(shards).repaired == ()
    assert {path: path.stat().st_mtime_ns for path in shards.iterdir()} == times


def test_small_files_are_repaired_without_the_source(finished):
    shards = finished / "shards"
    before = public_bytes(shards)
    (finished / "images").rename(finished / "elsewhere")
    flip(shards / "00001.parquet")
    (shards / "00002_stats.json").unlink()
    (shards / "manifest.json").unlink()
    assert semshard.repair(shards).remade == 0
    assert public_bytes(shards) == before
    (shards / "00000.tar").unlink()
    with pytest.raises(semshard.SourceError, match="there is no folder"):
        semshard.repair(shards)
    assert semshard.repair(shards, source=finished / "elsewhere").remade == 1
    assert public_bytes(shards) == before


def test_a_shards_file_in_the_ledger_is_made_again_by_the_manifest(finished):
    shards, ledger = finished / "shards", Ledger(ledger_path(finished / "shards"))
    before, rows, record = public_bytes(shards), ledger.shard(1), ledger.record(1)
    (ledger.path / "00001.parquet").write_bytes(b"?")
    assert semshard.repair(shards).repaired == ("shards.ledger/00001.parquet",)
    assert (public_bytes(shards), ledger.shard(1), ledger.record(1)) == (before, rows, record)


def test_a_changed_file_is_named_and_the_other_shards_are_repaired(finished):
    shards, ledger = finished / "shards", Ledger(ledger_path(finished / "shards"))
    before = public_bytes(shards)
    changed = finished / "images" / next(row.source for row in ledger.shard(0) if row.key)
    kept = changed.read_bytes()
    changed.unlink()
    for name in ("00000.tar", "00001.tar"):
        flip(shards / name)
    with pytest.raises(semshard.ShardError, match=rf"00000\.tar cannot .* 1 of its files .*{changed.name}; bring"):
        semshard.repair(shards)
    assert public_bytes(shards)["00001.tar"] == before["00001.tar"]
    changed.write_bytes(kept)
    semshard.repair(shards)
    assert public_bytes(shards) == before


def test_the_mark_of_a_shard_that_cannot_be_made_again_does_not_stop_the_others(finished):
    """On a machine of another kind, too, where one shard is tried before the others."""
    shards, ledger = finished / "shards", Ledger(ledger_path(finished / "shards"))
    before = public_bytes(shards)
    (finished / "images" / next(row.source for row in ledger.shard(1) if row.key)).unlink()
    for shard in range(3):
        flip(shards / f"0000{shard}.tar")
        (shards / f"0000{shard}_stats.json").write_bytes(b"")
        record = ledger.record(shard) | {"made_on": {"device": "another", "torch": "1.0"}}
        ledger.write_shard(shard, ledger.shard(shard), record)
    with pytest.raises(semshard.ShardError, match=r"00001\.tar cannot be made again"):
        semshard.repair(shards)
    after = of_shards(public_bytes(shards))
    assert {name for name, data in after.items() if data != before[name]} == {"00001.tar", "00001_stats.json"}


def test_other_bytes_than_before_are_compared_and_not_published(finished):
    """As on a machine with another arithmetic: the settings in the ledger name another precision."""
    shards, run = finished / "shards", finished / "shards.ledger" / "run.json"
    (shards / "00001.tar").unlink()
    known = json.loads(run.read_text())
    known["settings"]["precision"] = {"float32": "bfloat16", "bfloat16": "float32"}[known["settings"]["precision"]]
    known["settings"]["final_steps"] = 1
    run.write_text(json.dumps(known))
    words = r"00001\.tar comes out with other bytes here.*by itself this device takes.* of 16 samples have the same"
    with pytest.raises(semshard.ShardError, match=words):
        semshard.repair(shards)
    assert not (shards / "00001.tar").exists()


def test_on_another_kind_of_machine_one_shard_shows_whether_the_others_can_be_made(finished):
    shards, ledger = finished / "shards", Ledger(ledger_path(finished / "shards"))
    before = public_bytes(shards)
    for shard in range(3):
        record = ledger.record(shard)
        record["made_on"] = {"device": "another", "torch": "1.0"}
        ledger.write_shard(shard, ledger.shard(shard), record)
    run = finished / "shards.ledger" / "run.json"
    text = run.read_text()
    known = json.loads(text)
    known["settings"]["seed"] += 1
    run.write_text(json.dumps(known))
    for name in ("00000.tar", "00001.tar"):
        (shards / name).unlink()
    words = r"00000.tar comes out .* made on another with torch 1.0, this is .*; shards that were not tried: 1"
    with pytest.raises(semshard.ShardError, match=words):
        semshard.repair(shards)
    run.write_text(text)
    remarks = []
    assert semshard.repair(shards, progress=lambda event: remarks.append(event.message)).remade == 2
    assert any("bytes may differ" in remark for remark in remarks)
    after = public_bytes(shards)
    assert of_shards(after) == of_shards(before)


def test_without_ledger_or_surrogate_it_says_what_is_missing(finished):
    (finished / "shards" / "00000.tar").unlink()
    (finished / "shards.ledger" / "surrogate.safetensors").unlink()
    with pytest.raises(semshard.LedgerError, match=r"surrogate.safetensors is missing"):
        semshard.repair(finished / "shards")
    (finished / "shards.ledger").rename(finished / "gone")
    with pytest.raises(semshard.LedgerError, match="there is no ledger"):
        semshard.repair(finished / "shards")


def test_an_input_that_was_unusable_in_its_shard_stays_out_of_it(tmp_path, images):
    """Its batch had one image less, and has again."""
    victim = images / "ring" / "0000005.png"
    kept = victim.read_bytes()

    def change(event):
        if event.phase == "surrogate" and event.done == event.total:
            victim.write_bytes((images / "ring" / "0000015.png").read_bytes())

    from tests.support.protection import protect_from_disk

    protect_from_disk(images, tmp_path / "shards", change)
    before = public_bytes(tmp_path / "shards")
    ledger = Ledger(ledger_path(tmp_path / "shards"))
    (shard,) = (shard for shard in range(3) if any(row.reason for row in ledger.shard(shard)))
    victim.write_bytes(kept)
    (tmp_path / "shards" / f"{shard:05d}.tar").unlink()
    semshard.repair(tmp_path / "shards")
    assert public_bytes(tmp_path / "shards") == before
    result = protect(tmp_path, retry_rejects=True, max_rejects=0.1)
    assert (result.samples, result.rejected, result.shards) == (40, 0, 4)
    after = public_bytes(tmp_path / "shards")
    assert of_shards(before).items() <= of_shards(after).items()
    assert semshard.audit(tmp_path / "shards").ok
    for name in (f"{shard:05d}.tar", "00003.tar"):
        (tmp_path / "shards" / name).unlink()
    semshard.repair(tmp_path / "shards")
    assert public_bytes(tmp_path / "shards") == after
