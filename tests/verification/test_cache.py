"""The cache of results: what was computed once is read from its file, and no other file is believed."""

import json

import pytest

from semshard.verification.cache import ResultCache
from semshard.verification.results import VictimOutcome, outcome_from_json
from semshard.victims import Point, Stop

KNOWN = {"schema_version": 2, "kind": "victims", "results": {"a": {"x": 1}}}
UNUSABLE = [
    "half a fi",
    "[]",
    json.dumps({"a": {"x": 1}}),  # without a header
    json.dumps(KNOWN | {"schema_version": 1}),
    json.dumps(KNOWN | {"kind": "points"}),
    json.dumps(KNOWN | {"results": ["a"]}),
    json.dumps(KNOWN | {"results": {"a": 1}}),
    json.dumps(KNOWN | {"more": 1}),
]


def test_a_result_is_computed_once_and_lies_in_a_file_with_a_header(tmp_path):
    calls = []
    for _ in range(2):
        for _ in range(2):
            result = ResultCache(tmp_path / "c.json").get("a", lambda: calls.append(1) or {"x": 1})
            assert result == {"x": 1}
    assert calls == [1]
    assert json.loads((tmp_path / "c.json").read_text()) == KNOWN


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_file_that_is_broken_or_of_another_shape_kind_or_version_is_started_anew(content, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(content)
    cache = ResultCache(path)
    assert "a" not in cache
    assert path.read_text() == content, "reading changes nothing"
    assert cache.get("b", lambda: {"y": 2}) == {"y": 2}
    assert json.loads(path.read_text()) == KNOWN | {"results": {"b": {"y": 2}}}


def test_bytes_that_are_not_text_are_started_anew(tmp_path):
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\xfd")
    assert "a" not in ResultCache(tmp_path / "c.json")


def test_an_outcome_comes_back_from_json_as_it_was():
    outcome = VictimOutcome(
        0.5, 0.6, 0.7, 1.5, (Point(2, 0.5, 0.4),), (0.25, None), (Stop(1, 0.5, 2, 0.6),), (True, False), 0.25, 0.5, 0.75
    )
    assert outcome_from_json(json.loads(json.dumps(outcome.to_json()))) == outcome
    without = {name: value for name, value in outcome.to_json().items() if name != "under_pgd"}
    assert outcome_from_json(without).under_pgd is None, "as an earlier version wrote it"
