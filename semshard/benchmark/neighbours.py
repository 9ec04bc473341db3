"""Training beside other programs: busy Python loops, and trainings in one thread.

Beside k programs that are always busy, n threads on n cores may expect n / (n + k) of their quiet rate, the fair share.
Threads that wait for each other often get less, as each wait lasts until the slowest of them has had its turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from ..cores import allowed
from ..engine import Runtime, deterministic
from ..errors import RunError
from ..settings import ProtectConfig, VerifyConfig
from .busy import KINDS
from .steps import StepBench

BLOCK = 2.0  # seconds that a step is repeated for, at least
NEIGHBOUR_BYTES = 1 << 29  # of a program that has loaded torch
QUIET = ""  # the kind of no neighbour


@dataclass(frozen=True)
class NeighbourTime:
    """Our steps beside `count` programs of a kind: images/s, and the share of the quiet rate of the same round."""

    kind: str
    count: int
    fair_share: float  # where the neighbours may use the same cores and no others
    rates: dict[str, float]  # by step; medians
    shares: dict[str, float]


def neighbour_times(
    runtime: Runtime, protect: ProtectConfig, verify: VerifyConfig, size: tuple[int, int], rounds: int
) -> list[NeighbourTime]:
    """The surrogate step and a victim's step beside nothing, and beside half as many programs as cores, and as many.

    Every round measures each of these. Raises `RunError` where a neighbour dies.
    """
    bench = StepBench(runtime, protect, size, 1)
    actions = {"surrogate step": bench.our_surrogate_step, "victim step": bench.our_victim_step(verify)}
    cores, room = allowed(), max(1, runtime.memory() // NEIGHBOUR_BYTES)
    counts = sorted({min(count, room) for count in (max(1, cores // 2), cores)})
    cases = [(QUIET, 0), *((kind, count) for kind in KINDS for count in counts)]
    with deterministic(), idle_neighbours([kind for kind in KINDS for _ in range(counts[-1])]) as all_of_them:
        for action in actions.values():
            action()
        measured = [{case: _beside(all_of_them, *case, actions) for case in cases} for _ in range(rounds)]
    return [_summary(case, measured, protect.batch, cores) for case in cases]


def _beside(
    neighbours: Sequence[Neighbour], kind: str, count: int, actions: Mapping[str, Callable[[], object]]
) -> dict[str, float]:
    """Seconds of each action beside `count` neighbours of a kind."""
    with busy([each for each in neighbours if each.kind == kind][:count]):
        return {name: _seconds(action) for name, action in actions.items()}


def _seconds(action: Callable[[], object]) -> float:
    """Of one run of the action, repeated for `BLOCK`."""
    start, runs, passed = time.perf_counter(), 0, 0.0
    while passed < BLOCK:
        action()
        runs, passed = runs + 1, time.perf_counter() - start
    return passed / runs


def _summary(
    case: tuple[str, int], measured: Sequence[Mapping[tuple[str, int], dict[str, float]]], images: int, cores: int
) -> NeighbourTime:
    steps = measured[0][case]
    rates = {step: images / statistics.median(round[case][step] for round in measured) for step in steps}
    shares = {
        step: statistics.median(round[QUIET, 0][step] / round[case][step] for round in measured) for step in steps
    }
    return NeighbourTime(*case, cores / (cores + case[1]), rates, shares)


# --- the programs -------------------------------------------------------------------------------------------------


class Neighbour:
    """Another program on this machine, idle until it is asked to work. Raises `RunError` where it has died."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        program = f"import sys; sys.path[:] = {sys.path!r}; from semshard.benchmark.busy import main; main({kind!r})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def wait_ready(self) -> None:
        self._hear()

    def work(self) -> None:
        self._tell("go")

    def rest(self) -> int:
        """How many pieces of work it did; it is idle from now on."""
        self._tell("stop")
        return int(self._hear())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()

    def _tell(self, order: str) -> None:
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{order}\n".encode())
        except BrokenPipeError:
            self._lose()

    def _hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip() or self._lose()

    def _lose(self) -> NoReturn:
        raise RunError(f"a program beside the benchmark ({self.kind}) ended with status {self.process.wait()}")


@contextmanager
def idle_neighbours(kinds: Sequence[str]) -> Iterator[list[Neighbour]]:
    """Programs of these kinds, idle; killed at the end, however the block is left."""
    running = list[Neighbour]()
    try:
        for kind in kinds:
            running.append(Neighbour(kind))
        for each in running:
            each.wait_ready()
        yield running
    finally:
        for each in running:
            each.kill()


@contextmanager
def busy(neighbours: Sequence[Neighbour]) -> Iterator[None]:
    """Within it, they work."""
    for each in neighbours:
        each.work()
    try:
        yield
    finally:
        for each in neighbours:
            each.rest()
