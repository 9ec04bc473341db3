"""The history in a manifest: it has to fit the shards, and the ledger."""

import json

import pytest

import semshard
from semshard.atomic import json_bytes
from semshard.shards import check_manifest

ENTRY = {"action": "remove", "samples": 1, "shards": [{"name": "00001.tar", "samples": 1}]}


def changed(home, change):
    """What audit says after a change of the manifest."""
    path = home / "shards" / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    assert check_manifest(manifest) == []
    path.write_bytes(json_bytes(manifest))
    return [failure.problem for failure in semshard.audit(home / "shards").failures]


def made_on(manifest):
    return {"inputs": 1, "made_on": manifest["made_on"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("history"), "another history than the ledger"),
        (lambda m: m["history"].append(ENTRY), "another history than the ledger"),
        (lambda m: m["history"][0].update(samples=2), "removes 2 samples, from"),
        (lambda m: m["history"][0]["shards"][0].update(name="00007.tar"), "removes 1 samples, from"),
        (lambda m: m["history"].extend([ENTRY] * 5), "removes 6 samples, its counts do not"),
        (
            lambda m: m["history"].append({"action": "extend", "shards": ["00001.tar"], **made_on(m)}),
            "adds other shards than the last ones",
        ),
    ],
)
def test_a_history_that_does_not_fit_is_found(finished, change, words):
    semshard.remove(finished / "shards", keys=["0000100000"])
    assert changed(finished, lambda manifest: None) == []
    assert any(words in problem for problem in changed(finished, change))


@pytest.mark.parametrize(
    "entry",
    [
        {**ENTRY, "date": "2026-01-01"},
        {**ENTRY, "source": "disc/a.png"},
        {"action": "forget", "samples": 1, "shards": []},
        {"action": "extend", "inputs": 1, "shards": ["/home/me/00001.tar"], "made_on": {"device": "cpu", "torch": "2"}},
    ],
)
def test_the_schema_lets_no_time_and_no_path_in(finished, entry):
    manifest = json.loads((finished / "shards" / "manifest.json").read_text())
    assert check_manifest(manifest) == []
    assert check_manifest(manifest | {"history": [entry]})
