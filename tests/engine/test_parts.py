"""Parts of a batch: they cover it, every thread takes its share, nothing depends on how many threads there are."""

import threading
import time

import pytest
import torch

from semshard.cores import set_cores
from semshard.engine import parts as team
from semshard.engine.parts import in_parts, parts

CPU = torch.device("cpu")


@pytest.fixture
def with_cores(monkeypatch):
    """Sets the number of cores for this test, and has it noticed at once."""
    monkeypatch.setattr(team, "LOOK", 0.0)
    yield set_cores
    set_cores(None)
    in_parts(len, ["a", "b"])


@pytest.mark.parametrize("count", [0, 1, 2, 3, 31, 64, 65, 128, 1000])
def test_parts_cover_a_batch_once_and_in_order(count):
    found = [number for part in parts(count, CPU) for number in range(count)[part]]
    assert found == list(range(count))
    assert len(parts(count, torch.device("cuda"))) == 1
    assert count < 2 or len(parts(count, CPU)) >= 2


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_results_come_in_the_order_of_the_items(count, with_cores):
    with_cores(count)
    assert in_parts(lambda item: item**2, range(50)) == [item**2 for item in range(50)]


def test_as_many_threads_work_as_there_are_cores_and_a_later_change_counts(with_cores):
    for count in (3, 1, 2):
        with_cores(count)
        barrier, seen = threading.Barrier(count), set()

        def meet(item, barrier=barrier, seen=seen):
            if item < barrier.parties:
                barrier.wait(10)  # passes only where so many items are under way at once
            seen.add(threading.get_ident())
            time.sleep(0.001)

        in_parts(meet, range(20))
        assert len(seen) == count


def test_parts_of_parts_are_done_by_whoever_is_idle(with_cores):
    with_cores(3)
    found = in_parts(lambda outer: in_parts(lambda inner: (outer, inner), range(5)), range(4))
    assert found == [[(outer, inner) for inner in range(5)] for outer in range(4)]


def test_every_operation_runs_in_one_thread_and_the_setting_comes_back(with_cores):
    with_cores(2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert set(in_parts(lambda item: torch.get_num_threads(), range(8))) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_whether_gradients_are_recorded_is_the_same_in_every_thread(with_cores):
    with_cores(2)
    with torch.no_grad():
        assert not any(in_parts(lambda item: torch.is_grad_enabled(), range(8)))
    assert all(in_parts(lambda item: torch.is_grad_enabled(), range(8)))


def test_a_failure_is_raised_and_nothing_new_is_begun(with_cores):
    with_cores(2)
    begun = []

    def fail(item):
        begun.append(item)
        if item == 3:
            raise KeyError("lost")
        time.sleep(0.001)

    with pytest.raises(KeyError, match="lost"):
        in_parts(fail, range(1000))
    assert len(begun) < 20
    assert in_parts(lambda item: item, range(4)) == [0, 1, 2, 3], "the threads are there for the next batch"
