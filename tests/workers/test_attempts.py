"""What is remembered of pieces of work whose workers are lost, and options that do not go together."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semshard.errors import RunError, SettingError
from semshard.workers import WorkerOptions
from semshard.workers.attempts import FUTILE, UNKNOWN, Attempts, Book

ROOT = Path(__file__).parents[2]


@given(st.integers(0, 20), st.lists(st.integers(0, 20), max_size=5), st.integers(1, 7))
def test_reports_of_several_attempts_are_handed_on_once_and_in_order(count, ends, group):
    attempts, seen = Attempts("w"), []
    for end in [*ends, count]:  # each attempt ends after so many reports, the last one after all of them
        attempts.begin()
        for at in range(0, min(end, count), group):
            seen += attempts.fresh(list(range(at, min(at + group, end, count))))
    assert seen == list(range(count))


def book(works, retries, alive=("a",)):
    return Book(iter(works), retries, lambda: set(alive))


def test_work_is_given_up_after_its_retries_and_the_others_go_on():
    works = book(["x", "y"], retries=2)
    for attempt in range(3):
        attempts = works.next()
        assert attempts.work == "x"
        answer = works.lost(attempts, "a", "died")
        assert answer == (
            "it is left out after 3 attempts" if attempt == 2 else f"it is made again, attempt {attempt + 2} of 3"
        )
    assert works.next().work == "y"
    assert works.next() is None
    assert not works.has_more
    assert "x (died)" in str(works.error())


def test_attempts_on_nodes_that_are_gone_do_not_count():
    works = book(["x"], retries=0, alive=["a"])
    for _ in range(10):
        works.lost(works.next(), "gone", "died")
    for _ in range(10):
        works.lost(works.next(), "a", "was taken away with notice", counts=False)
    works.lost(works.next(), "a", "died")
    assert works.next() is None
    assert [each.work for each in works.given_up] == ["x"]


def test_a_run_in_which_nothing_succeeds_any_more_ends():
    works = book(range(100), retries=0)
    for _ in range(FUTILE - 1):
        works.lost(works.next(), "a", "no disk")
    works.next()
    works.done(1.0)
    for _ in range(FUTILE - 1):
        works.lost(works.next(), "a", "no disk")
    with pytest.raises(RunError, match=rf"no disk\) and {2 * FUTILE - 1 - 3} more"):
        works.lost(works.next(), "a", "no disk")


def test_the_patience_is_ten_times_the_median():
    works = book([], retries=0)
    assert works.patience == UNKNOWN
    for seconds in (1.0, 2.0, 60.0):
        works.done(seconds)
    assert works.patience == 20.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "dask"}, "'dask' is not known; choose one of: local, ray"),
        ({"workers": 0}, "workers is at least 1"),
        ({"retries": 5}, "are for --engine ray"),
        ({"engine": "ray", "cpus_per_worker": 0}, "cpus-per-worker is at least 1"),
        ({"engine": "ray", "ray_address": "ray://head:10001"}, "ray job submit --address http://HEAD:8265 -- semshard"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(SettingError, match=words):
        WorkerOptions(**options).check()


def test_a_client_in_the_environment_is_refused_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    WorkerOptions().check()
    with pytest.raises(SettingError, match="ray job submit"):
        WorkerOptions("ray").check()
    assert WorkerOptions("ray", ray_address="auto").address == "auto"
    monkeypatch.delenv("RAY_ADDRESS")
    assert WorkerOptions("ray").address == "local"


def test_one_module_imports_ray():
    statement = re.compile(r"^\s*(import|from) ray\b", re.MULTILINE)
    importers = [path.name for path in (ROOT / "semshard").rglob("*.py") if statement.search(path.read_text())]
    assert importers == ["ray_pool.py"]
