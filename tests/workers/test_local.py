"""Local worker processes: order in, work in, results out; what goes wrong in one of them is known in the driver."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semshard.cores import allowed, set_cores
from semshard.errors import RunError, SettingError, TooManyRejects
from semshard.workers import Here, LocalPool, run_alone, shares

ERRORS = {
    "rejects": TooManyRejects("3 of 4 inputs are unusable"),
    "setting": SettingError("--steps 0 is not possible"),
    "disk": OSError(errno.ENOSPC, "No space left on device", "00003.tar"),
    "plain": ValueError("odd"),
}


class Foreign(Exception):
    """An error that cannot be made again from its text."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def job(order, works, report):
    """Does what each piece of work says, and adds the order to it."""
    for work in works:
        match work:
            case int():
                report(("begun", work))
                yield order + work, os.getpid(), allowed()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "foreign":
                raise Foreign("one", "two")
            case "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                yield "alive"
            case "cores", seconds:
                until = time.monotonic() + seconds
                while allowed() < 4 and time.monotonic() < until:
                    time.sleep(0.01)
                yield allowed()
            case "sleep":
                Path(order).write_text(str(os.getpid()))
                time.sleep(600)
            case _:
                raise ERRORS[work]


def ignore(message):
    pass


def test_every_piece_of_work_has_its_result_and_reports_on_the_way():
    said = []
    pool = LocalPool(2, 2)
    found = list(pool.run(job, 100, range(20), said.append))
    assert sorted(value for value, _, _ in found) == list(range(100, 120))
    assert sorted(said) == [("begun", work) for work in range(20)]
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert len(pool.peaks) == 2
    assert min(pool.peaks) > 1e6
    assert not pool._running


def test_the_same_job_in_this_process_gives_the_same_results_in_order():
    assert [value for value, *_ in Here().run(job, 100, range(5), ignore)] == [100, 101, 102, 103, 104]
    assert run_alone(job, 100, 7, ignore)[0] == 107


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_worker_is_the_same_in_the_driver(name):
    with pytest.raises(type(ERRORS[name])) as raised:
        list(LocalPool(1, 1).run(job, 0, [name], ignore))
    assert str(raised.value) == str(ERRORS[name])
    assert getattr(raised.value, "errno", None) == getattr(ERRORS[name], "errno", None)
    assert "in job" in str(raised.value.__cause__)  # where in the worker, for --debug


def test_an_error_that_cannot_be_sent_is_a_run_error_with_its_text():
    with pytest.raises(RunError, match="Foreign: one and two"):
        list(LocalPool(1, 1).run(job, 0, ["foreign"], ignore))


@pytest.mark.parametrize(("work", "how"), [("kill", "was ended by SIGKILL"), ("exit", "ended with status 3")])
def test_a_worker_that_dies_ends_the_run_in_words(work, how):
    with pytest.raises(RunError, match=f"{how}.* with {work} in hand; run the same command again"):
        list(LocalPool(2, 2).run(job, 0, [1, 2, work, 3, 4], ignore))


def test_what_the_driver_raises_ends_the_workers_at_once(tmp_path):
    def refuse(message):
        raise TooManyRejects("enough")

    pool, start = LocalPool(2, 2), time.monotonic()
    with pytest.raises(TooManyRejects, match="enough"):
        list(pool.run(job, str(tmp_path / "pid"), ["sleep", 1], refuse))
    assert time.monotonic() - start < 60
    assert not pool._running


def test_a_worker_ignores_control_c_of_the_terminal():
    assert list(LocalPool(1, 1).run(job, 0, ["interrupt"], ignore)) == ["alive"]


def test_cores_are_shared_evenly_and_those_of_idle_workers_go_to_the_others():
    assert [shares(cores, workers) for cores, workers in ((8, 3), (2, 2), (2, 3), (5, 1))] == [
        [3, 3, 2], [1, 1], [1, 1, 1], [5]
    ]  # fmt: skip
    ((_, _, cores),) = LocalPool(3, 7).run(job, 0, [1], ignore)
    assert cores in (3, 4, 7)  # the others end while it begins
    assert list(LocalPool(2, 4).run(job, 0, [("cores", 60)], ignore)) == [4]


def test_a_driver_that_is_killed_takes_its_workers_with_it(tmp_path):
    program = (
        "from semshard.workers import LocalPool; from tests.workers.test_local import job, ignore\n"
        f"list(LocalPool(1, 1).run(job, {str(tmp_path / 'pid')!r}, ['sleep'], ignore))"
    )
    driver = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    until = time.monotonic() + 10
    while alive(int((tmp_path / "pid").read_text())) and time.monotonic() < until:
        time.sleep(0.01)
    assert time.monotonic() < until


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_program_without_a_guard_can_use_workers(tmp_path):
    """Workers do not import the user's program again."""
    script = tmp_path / "script.py"
    script.write_text(
        "from semshard.workers import LocalPool; from tests.workers.test_local import job, ignore\n"
        "print(len(list(LocalPool(2, 2).run(job, 0, range(4), ignore))))\n"
    )
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.stdout == "4\n"


def test_cores_that_were_set_hold_until_they_are_given_back():
    before = allowed()
    set_cores(before + 3)
    try:
        assert allowed() == before + 3
    finally:
        set_cores(None)
    assert allowed() == before
