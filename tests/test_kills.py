"""The long set of kills, as short as it can be."""

import pytest

from tests.kills import SHARES, kill_all, line_of, result, shared_out


def test_all_kinds_share_the_kills():
    counts = shared_out(500)
    assert sum(counts.values()) == 500
    assert counts.keys() == SHARES.keys()
    assert min(shared_out(1).values()) == 1


@pytest.mark.slow
def test_what_is_killed_is_counted_and_ends_in_the_same_bytes():
    said = []
    found = kill_all({"part": 3, "driver": 1}, 24, say=said.append)
    assert found["part"].kills >= 3
    assert found["driver"].kills == 1
    for kind, tally in found.items():
        assert tally.runs >= 1
        assert tally.differences == []
        assert "all bytes the same: yes" in line_of(kind, tally)
    assert len(said) == 2
    rows = result(found, 24, "")["figures"]["kills"]["rows"]
    assert rows[-1][:2] == ["all", sum(tally.kills for tally in found.values())]
