"""The journal of a reproduction: what is added is there in the next call, and a file of another kind is refused."""

import json

import pytest

import semshard
from semshard.errors import LedgerError
from semshard.measuring.cost import Work
from semshard.reproduction.journal import SCHEMA_VERSION, Journal
from semshard.reproduction.plan import WorkItem
from tests.support.networks import CPU
from tests.support.reproduction import VICTIM

ITEM = WorkItem("victim 1", "victim for SEM, 4/255", Work(6e9, 2e6))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "record.json"


def test_what_was_added_is_there_in_the_next_call(path):
    journal = Journal.open(path, CPU)
    (path.parent / "manifest.json").write_bytes(b"abc")
    journal.add_cell("key", {"final": 0.5})
    journal.add_work(ITEM, 2.0)
    journal.add_digest("images 1", path.parent / "manifest.json")
    again = Journal.open(path, CPU)
    assert again.cell("key") == {"final": 0.5}
    assert again.cell("other") is None
    assert again.digests["images 1"].startswith("ba7816bf")
    (part,) = again.parts(["nothing", "victim 1"])
    assert (part["part"], part["seconds"], part["flop"]) == (ITEM.label, 2.0, 6e9)
    assert part["flop_per_second"] == 3e9
    assert part["share"] == round(3e9 / again.machines[part["machine"]]["matrix_product"], 4)


def test_an_interrupted_part_counts_its_seconds_and_the_last_try_its_operations(path):
    journal = Journal.open(path, CPU)
    journal.add_work(WorkItem(ITEM.key, ITEM.label, Work()), 3.0)
    with pytest.raises(KeyboardInterrupt), journal.timed(ITEM):
        raise KeyboardInterrupt
    assert journal.parts([ITEM.key])[0]["flop"] == 0
    with journal.timed(ITEM):
        pass
    (part,) = journal.parts([ITEM.key])
    assert part["seconds"] >= 3.0
    assert part["flop"] == 6e9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("half a fi", "not valid JSON"),
        ("[]", "schema version None"),
        ('{"machines": {}, "digests": {}, "parts": {}, "cells": {}}', "schema version None"),
        (json.dumps({"schema_version": SCHEMA_VERSION + 1}), f"schema version {SCHEMA_VERSION + 1}"),
        (json.dumps({"schema_version": SCHEMA_VERSION, "cells": []}), "lacks machines, digests, parts, cells"),
    ],
)
def test_a_journal_of_another_version_or_a_damaged_one_is_refused_and_left_as_it_is(content, message, path):
    path.write_text(content)
    with pytest.raises(LedgerError, match=message):
        Journal.open(path, CPU)
    assert path.read_text() == content


def test_a_reproduction_does_not_replace_a_journal_of_another_version(images, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "record.json").write_text('{"schema_version": 0}')
    with pytest.raises(LedgerError, match="schema version 0, this semshard reads"):
        semshard.reproduce("table2", images, tmp_path / "out", cells=["Clean Data:0"], **VICTIM)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["record.json"]
