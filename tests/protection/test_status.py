"""Status: how far a run is, read from what is on disk, at every point of it and without disturbing it."""

import json
import shutil

import pytest

import semshard
from semshard.shards import Ledger, ledger_path
from tests.support.command import semshard as program
from tests.support.protection import protect
from tests.support.runs import TINY


def test_a_finished_folder_has_nothing_left_to_do(finished):
    found = semshard.status(finished / "shards")
    assert (found.phase, found.running, found.has_ledger, found.change) == ("done", False, True, "")
    assert (found.inputs, found.rejected, found.removed) == (40, 0, 0)
    assert (found.step, found.steps, found.shards_done, found.shards) == (3, 3, 3, 3)
    assert "audit" in found.next


def test_during_a_run_it_tells_each_phase_and_the_run_goes_on_undisturbed(tmp_path, images):
    seen = {}

    def look(event):
        if event.total and (event.phase, event.done) not in seen:
            seen[event.phase, event.done] = semshard.status(tmp_path / "shards")

    assert protect(tmp_path, progress=look, checkpoint_seconds=0).samples == 40
    assert all(each.running for each in seen.values())
    assert all("wait" in each.next for each in seen.values())
    assert seen["scan", 40].phase == "scan"
    training = seen["surrogate", 3]
    assert (training.phase, training.steps, training.shards_done, training.inputs) == ("surrogate", 3, 0, 40)
    assert training.step in (1, 2, 3)
    crafting = seen["craft", 40]
    assert (crafting.phase, crafting.step, crafting.shards) == ("craft", 3, 3)
    assert semshard.status(tmp_path / "shards").phase == "done"


def test_an_interrupted_run_is_continued_by_its_command(tmp_path, images):
    def stop(event):
        if event.phase == "craft":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        protect(tmp_path, progress=stop)
    found = semshard.status(tmp_path / "shards")
    assert (found.phase, found.running, found.step) == ("craft", False, 3)
    assert "same protect command" in found.next


def test_a_damaged_folder_is_sent_to_repair(finished):
    (finished / "shards" / "00001.tar").unlink()
    found = semshard.status(finished / "shards")
    assert (found.phase, found.shards_done, found.shards) == ("damaged", 2, 3)
    assert "semshard repair" in found.next


def test_without_a_ledger_it_says_what_the_manifest_says(finished):
    shutil.rmtree(finished / "shards.ledger")
    found = semshard.status(finished / "shards")
    assert (found.phase, found.has_ledger, found.inputs, found.shards_done) == ("done", False, 40, 3)
    with pytest.raises(semshard.ShardError, match="does not exist"):
        semshard.status(finished / "elsewhere")


def test_asking_neither_takes_the_lock_nor_writes(finished):
    shards, ledger = finished / "shards", Ledger(ledger_path(finished / "shards"))
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with ledger.locked():
        assert semshard.status(shards).running
    assert not semshard.status(shards).running
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_the_command_prints_it_for_people_and_for_programs(finished):
    about = json.loads(program("status", finished / "shards", "--json").stdout)
    assert about == semshard.status(finished / "shards").to_json()
    text = program("status", finished / "shards").stdout
    for words in ("finished", "none is running", "40, 0 rejected", "step 3 of 3", "3 of 3", "semshard audit"):
        assert words in text


def test_a_scan_that_ended_in_too_many_rejects_names_their_list(tmp_path, images):
    (images / "disc" / "broken.png").write_bytes(b"no image")
    with pytest.raises(semshard.TooManyRejects):
        semshard.protect(images, tmp_path / "shards", **TINY)
    found = semshard.status(tmp_path / "shards")
    assert (found.phase, found.running) == ("scan", False)
    assert "rejects.jsonl" in found.next


def test_a_manifest_that_the_ledger_has_not_recorded_is_sent_to_repair(finished):
    path = finished / "shards" / "manifest.json"
    whole = path.read_text()
    path.write_text(whole.replace('"steps": 3', '"steps": 7'))
    found = semshard.status(finished / "shards")
    assert (found.phase, found.change) == ("damaged", "")
    semshard.repair(finished / "shards")
    assert path.read_text() == whole
    assert semshard.status(finished / "shards").phase == "done"
