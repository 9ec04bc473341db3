"""Removing samples: those that remain keep every byte, and nothing brings the others back."""

import cProfile
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import semshard
from semshard.protection.remove import _published
from semshard.shards import InputRow, Ledger, LedgerRow, ledger_path
from tests.support.command import semshard as program
from tests.support.photo_runs import write_photos
from tests.support.protection import protect
from tests.support.runs import TINY, public_bytes
from tests.support.workers import processes


def entries(shards):
    """name → (header, bytes) of every file in the tars."""
    found = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            found |= {entry.name: (entry.get_info(), tar.extractfile(entry).read()) for entry in tar}
    return found


def sources(home):
    """key → source of every published sample."""
    ledger = Ledger(ledger_path(home / "shards"))
    return {row.key: row.source for shard in range(ledger.state()["shards"]) for row in ledger.shard(shard) if row.key}


def test_only_the_shards_concerned_are_rewritten_and_the_rest_of_them_keeps_its_bytes(finished):
    shards = finished / "shards"
    before, files = entries(shards), public_bytes(shards)
    gone = ["0000000003", "0000000007", "0000200000"]
    result = semshard.remove(shards, keys=gone)
    assert (result.removed, result.already, result.samples) == (3, 0, 37)
    assert result.shards == ("00000.tar", "00002.tar")
    assert entries(shards) == {name: entry for name, entry in before.items() if name.partition(".")[0] not in gone}
    after = public_bytes(shards)
    assert {name for name in files if after[name] == files[name]} == {"00001.tar", "00001.parquet", "00001_stats.json"}
    manifest = json.loads(after["manifest.json"])
    assert manifest["history"] == [
        {
            "action": "remove",
            "samples": 3,
            "shards": [{"name": "00000.tar", "samples": 2}, {"name": "00002.tar", "samples": 1}],
        }
    ]
    assert manifest["counts"] | {"duplicates": 0} == {
        "inputs": 40, "samples": 37, "rejected": 3, "duplicates": 0, "shards": 3
    }  # fmt: skip
    assert semshard.audit(shards).ok
    assert semshard.status(shards).removed == 3
    again = semshard.remove(shards, keys=gone)
    assert (again.removed, again.already) == (0, 3)
    assert public_bytes(shards) == after
    (finished / "shards.ledger").rename(finished / "away")
    assert semshard.audit(shards).ok


def test_nothing_brings_back_what_was_removed(finished):
    shards, names = finished / "shards", sources(finished)
    gone = [names["0000100002"], names["0000100005"]]
    listed = finished / "withdrawn.txt"
    listed.write_text(f"{gone[0]}\r\n\n{finished / 'images' / gone[1]}\n")
    program("remove", shards, "--source", listed)
    after = public_bytes(shards)
    copied = (finished / "images" / gone[0]).read_bytes()
    assert protect(finished).made == 0
    for options in ({"retry_rejects": True}, {"extend": True}):
        assert protect(finished, max_rejects=0.1, **options).made == 0
    assert public_bytes(shards) == after
    for name in gone:
        (finished / "images" / name).unlink()
    assert protect(finished).made == 0, "the files need not be there any more"
    (shards / "00001.tar").unlink()
    semshard.repair(shards)
    assert public_bytes(shards) == after, "the batches are as they were, with black in place of the images"
    (finished / "images" / "disc" / "copy.png").write_bytes(copied)
    result = protect(finished, extend=True, max_rejects=0.1)
    assert (result.samples, result.rejected) == (38, 3)
    assert "same bytes" in (finished / "shards.ledger" / "rejects.jsonl").read_text()
    assert semshard.audit(shards).ok


@pytest.mark.parametrize("completed_by", ["remove", "repair", "protect"])
@pytest.mark.parametrize("reached", ["manifest.json", "croissant.json", "README.md"])
def test_what_was_killed_after_its_manifest_was_written_is_completed(finished, reached, completed_by):
    shards, key = finished / "shards", "0000000003"
    last = [shards / "croissant.json", shards / "README.md", finished / "shards.ledger" / "published.json"]
    before = {path: path.read_bytes() for path in last}
    semshard.remove(shards, keys=[key])
    after = {path: path.read_bytes() for path in [*last, *shards.iterdir()]}
    names = [path.name for path in last]
    for path in last[names.index(reached) + 1 if reached in names else 0 :]:
        path.write_bytes(before[path])
    assert not semshard.audit(shards).ok
    found = semshard.status(shards)
    assert (found.phase, found.change) == ("finish", "remove")
    complete = {
        "remove": lambda: semshard.remove(shards, keys=[key]),
        "repair": lambda: semshard.repair(shards),
        "protect": lambda: protect(finished),
    }
    complete[completed_by]()
    assert {path: path.read_bytes() for path in after} == after
    assert semshard.audit(shards).ok
    assert semshard.status(shards).phase == "done"


def test_a_card_of_the_owners_own_is_refused_before_anything_is_removed(finished):
    shards = finished / "shards"
    (shards / "README.md").write_text("# mine")
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(semshard.OutputError, match=r"README\.md was not written by semshard; move it away"):
        semshard.remove(shards, keys=["0000000003"])
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    (shards / "README.md").unlink()
    assert semshard.remove(shards, keys=["0000000003"]).removed == 1
    assert semshard.audit(shards).ok


def test_what_is_unknown_is_refused_before_anything_is_written(finished):
    shards = finished / "shards"
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with pytest.raises(
        semshard.UsageError, match=r"2 of 3 keys are unknown, such as '0000300000'; nothing was removed"
    ):
        semshard.remove(shards, keys=["0000000000", "0000300000", "cat"])
    with pytest.raises(semshard.UsageError, match=r"1 of 1 paths are unknown, such as 'disc/none.png'"):
        semshard.remove(shards, source=["disc/none.png"])
    with pytest.raises(semshard.UsageError, match="the list is empty"):
        semshard.remove(shards, keys=[])
    with pytest.raises(semshard.UsageError, match="either"):
        semshard.remove(shards)
    (shards / "00001.tar").write_bytes(before[shards / "00001.tar"][:-1])
    with pytest.raises(semshard.ShardError, match=r"00001.tar is damaged; semshard repair .* comes first"):
        semshard.remove(shards, keys=["0000000000", "0000100000"])
    (shards / "00001.tar").write_bytes(before[shards / "00001.tar"])
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_reject_whose_consent_is_withdrawn_is_not_tried_again(tmp_path, images):
    (images / "disc" / "a.png").write_bytes(b"no image")
    protect(tmp_path, max_rejects=0.1)
    before = public_bytes(tmp_path / "shards")
    assert semshard.remove(tmp_path / "shards", source=["disc/a.png"]).removed == 0
    Image.fromarray(np.full((32, 32, 3), 9, np.uint8)).save(images / "disc" / "a.png")
    assert protect(tmp_path, retry_rejects=True, max_rejects=0.1).samples == 40
    after = public_bytes(tmp_path / "shards")
    assert {name for name in after if after[name] != before[name]} == {"manifest.json", "README.md", "croissant.json"}
    assert semshard.audit(tmp_path / "shards").ok


def test_photographs_and_a_whole_shard_can_be_removed_and_repaired(tmp_path):
    write_photos(tmp_path / "images", each=3)
    protect(tmp_path, shard_size=2, crop=32)
    shards = tmp_path / "shards"
    names = sources(tmp_path)
    gone = [key for key in names if key.startswith("00000")] + ["0000100000"]
    assert semshard.remove(shards, keys=gone).samples == 3
    after = public_bytes(shards)
    assert semshard.audit(shards).ok
    for key in gone:
        (tmp_path / "images" / names[key]).unlink()
    for name in ("00000.tar", "00001.tar"):
        (shards / name).unlink()
    try:
        semshard.repair(shards)
    except semshard.SourceError:  # a class with one image only
        for key in gone:
            Image.new("RGB", (9, 9)).save(tmp_path / "images" / names[key])
        semshard.repair(shards)
    assert public_bytes(shards) == after


@pytest.mark.parametrize("method", ["sc", "ntga", "tap"])
def test_a_shard_of_any_method_is_repaired_after_removal_and_extension(tmp_path, images, method):
    """ntga looks at images outside a block, also at those that were removed: their files have to be there."""
    settings = TINY | {"method": method, "craft_batch": 8}
    semshard.protect(images, tmp_path / "shards", **settings)
    semshard.remove(tmp_path / "shards", keys=["0000000003", "0000100001"])
    Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(images / "disc" / "new.png")
    semshard.protect(images, tmp_path / "shards", extend=True, **settings)
    after = public_bytes(tmp_path / "shards")
    for name in ("00000.tar", "00003.tar"):
        (tmp_path / "shards" / name).unlink()
    assert semshard.repair(tmp_path / "shards").remade == 2
    assert public_bytes(tmp_path / "shards") == after
    assert semshard.audit(tmp_path / "shards").ok


def test_no_row_of_a_shard_is_compared_with_every_removed_one(finished):
    with cProfile.Profile() as profile:
        semshard.remove(finished / "shards", keys=[f"00000000{place:02d}" for place in range(1, 16, 2)])
    calls = Counter()
    for each in profile.getstats():
        calls[getattr(each.code, "co_name", "")] += each.callcount
    assert calls["settle"] == 1
    assert calls["__eq__"] < 16


class CountedPasses(list):
    """A list that counts how often it is gone through."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


def test_the_removed_inputs_are_not_gone_through_for_every_shard(tmp_path):
    ledger, shards = Ledger(tmp_path, digits=5), 30
    for shard in range(shards):
        ledger.write_shard(shard, [LedgerRow(shard, "a", None, f"{shard:05d}00000")])
    rows = CountedPasses(InputRow(n, "a", None, 0, 1, 1, "", "", n, 0) for n in reversed(range(shards)))
    assert list(_published(ledger, rows, True).items()) == [(shard, 1) for shard in range(shards)]
    assert rows.passes <= 3


@pytest.mark.slow
def test_local_processes_repair_it_with_the_same_bytes(finished):
    shards, names = finished / "shards", sources(finished)
    semshard.remove(shards, keys=["0000000003", "0000100001"])
    (finished / "images" / names["0000000003"]).unlink()
    after = public_bytes(shards)
    for name in ("00000.tar", "00001.tar"):
        (shards / name).unlink()
    with processes(2):
        assert semshard.repair(shards).remade == 2
    assert public_bytes(shards) == after
