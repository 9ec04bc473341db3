"""The ledger vouches for the manifest: recorded where it is written, and again wherever the record is missing."""

import hashlib

import pytest

import semshard
from semshard.shards import Ledger, ledger_path
from tests.support.protection import protect
from tests.support.runs import public_bytes


def recorded(home):
    return Ledger(ledger_path(home / "shards")).published()


def digest(home):
    return hashlib.sha256((home / "shards" / "manifest.json").read_bytes()).hexdigest()


def test_a_run_records_its_manifest(finished):
    assert recorded(finished) == digest(finished)


def test_a_setting_that_was_changed_is_found_with_the_ledger_and_put_right_by_the_same_command(finished):
    before, path = public_bytes(finished / "shards"), finished / "shards" / "manifest.json"
    path.write_text(path.read_text().replace('"steps": 3', '"steps": 7'))
    found = [failure.problem for failure in semshard.audit(finished / "shards").failures]
    assert "steps is 7, the ledger says 3" in found
    assert any("not the one that the ledger has recorded" in problem for problem in found)
    assert protect(finished).made == 0
    assert public_bytes(finished / "shards") == before
    assert semshard.audit(finished / "shards").ok


@pytest.mark.parametrize("manifest_is_there", [True, False])
def test_a_run_that_was_killed_before_it_recorded_is_finished_by_the_same_command(finished, manifest_is_there):
    before = public_bytes(finished / "shards")
    (finished / "shards.ledger" / "published.json").unlink()
    if not manifest_is_there:
        (finished / "shards" / "manifest.json").unlink()
    assert protect(finished).made == 0
    assert recorded(finished) == digest(finished)
    assert public_bytes(finished / "shards") == before


def test_a_ledger_of_an_earlier_version_is_no_failure(finished):
    (finished / "shards.ledger" / "published.json").unlink()
    assert semshard.audit(finished / "shards").ok
