"""Programs beside the benchmark: they work when they are asked to, and end however the benchmark ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from semshard.benchmark import neighbours
from semshard.benchmark.busy import KINDS
from semshard.benchmark.neighbours import busy, idle_neighbours, neighbour_times
from semshard.cores import set_cores
from semshard.engine import Runtime
from semshard.errors import RunError
from semshard.settings import protect_config, verify_config
from tests.support.workers import workers_of

CPU = Runtime(torch.device("cpu"), "float32")
LOOP, TRAINING = KINDS


def cpu_seconds(process):
    """That a process has computed for."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_neighbour_works_when_it_is_asked_to_and_at_no_other_time():
    with idle_neighbours([LOOP, TRAINING]) as both:
        for each in both:
            start = cpu_seconds(each.process)
            time.sleep(0.3)
            assert cpu_seconds(each.process) - start < 0.1
            each.work()
            while cpu_seconds(each.process) - start < 0.3:
                time.sleep(0.01)
            assert each.rest() > 1
            each.work()
            assert each.rest() >= 1
            start = cpu_seconds(each.process)
            time.sleep(0.3)
            assert cpu_seconds(each.process) - start < 0.1


def test_neighbours_are_gone_after_an_error_and_a_dead_one_is_named():
    with pytest.raises(ZeroDivisionError), idle_neighbours([LOOP, LOOP]) as both, busy(both):
        _ = 1 / 0
    assert [each.process.returncode for each in both] == [-signal.SIGKILL] * 2
    with (
        pytest.raises(RunError, match=rf"\({LOOP}\) ended with status -15"),
        idle_neighbours([LOOP]) as some,
        busy(some),
    ):
        some[0].process.terminate()
        some[0].process.wait()
    with pytest.raises(RunError, match="unknown"), idle_neighbours([LOOP, "unknown"]) as _:
        pass


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_neighbours_end_with_the_benchmark_whatever_ends_it(how):
    lines = [
        "import signal, sys, time",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",  # which a shell ignores for what it runs beside it
        "from semshard.benchmark.neighbours import busy, idle_neighbours",
        f"with idle_neighbours([{LOOP!r}] * 3) as some, busy(some[:2]):",
        "    print('busy', flush=True)",
        "    time.sleep(60)",
    ]
    driver = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert driver.stdout.readline() == "busy\n"
        children = workers_of(driver.pid)
        assert len(children) == 3
        driver.send_signal(how)
        driver.wait(20)
        end = time.monotonic() + 20
        while any(map(is_alive, children)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not any(map(is_alive, children))
    finally:
        driver.kill()
        driver.wait()
        driver.stdout.close()


@pytest.mark.slow
def test_steps_are_measured_beside_half_as_many_programs_as_cores_and_as_many(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 0.05)
    settings = {"network": "small", "batch": 8, "steps_u": 1, "steps_a": 1}
    protect = protect_config("quick", (32, 32), "float32", settings)
    verify = verify_config("quick", (32, 32), "float32", {"rho_a": protect.rho_a, "victim": protect.network})
    set_cores(4)
    try:
        found = neighbour_times(CPU, protect, verify, (32, 32), 2)
    finally:
        set_cores(None)
    assert [(case.kind, case.count) for case in found] == [("", 0), (LOOP, 2), (LOOP, 4), (TRAINING, 2), (TRAINING, 4)]
    assert [case.fair_share for case in found] == pytest.approx([1, 4 / 6, 1 / 2, 4 / 6, 1 / 2])
    for case in found:
        assert case.rates.keys() == case.shares.keys() == {"surrogate step", "victim step"}
        assert min(*case.rates.values(), *case.shares.values()) > 0
    assert set(found[0].shares.values()) == {1.0}
