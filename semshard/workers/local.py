"""A pool of processes on this machine, which share its cores.

A worker is a fresh interpreter, not a child of multiprocessing: that would import the user's program again, or be a
copy of a process whose threads are gone. It imports the same semshard, by the same search path, and what the job needs.

The driver only hands out work and takes results. On any exception in it the workers are killed; where it is killed
itself, they end at once. Files given as `held` stay open in the workers, and with them their locks.

Where a program cannot be given open files when it is started, as on Windows, this process does all the work itself.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from ..errors import RunError
from ..threads import ahead
from .here import Here
from .protocol import Job, Order, Report, Result, Work, shares

_PROGRAM = "import sys; sys.path[:] = {path!r}; from semshard.workers.process import main; main({descriptor}, {cores})"
QUICK = 1.0  # seconds for a piece of work; waiting for the next would take a noticeable part of it
_GOODBYE = 5.0  # seconds that a worker which said that it ends may take to do so


class WorkerTraceback(Exception):
    """Where in a worker its error was raised; the cause of the error in the driver."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    cores: int
    under_way: list[Any] = field(default_factory=list)  # pieces of work that it has, in order
    since: float = field(default_factory=time.monotonic)  # when it was started or had its last result


@dataclass
class LocalPool:
    """So many `workers` that share `cores`. One that is quick is given its next piece of work before it asks for it.

    `peaks` are the most bytes resident of each worker that has ended by itself. Raises `RunError` where a worker dies.
    """

    workers: int
    cores: int
    held: Sequence[int] = ()  # file descriptors
    peaks: list[int] = field(default_factory=list)
    _running: list[_Worker] = field(default_factory=list)

    def run(
        self, job: Job[Order, Work, Result], order: Order, works: Iterable[Work], report: Report
    ) -> Iterator[Result]:
        self.peaks.clear()
        if not hasattr(os, "fork"):  # Windows, where no file or socket can be handed on by its number
            yield from Here().run(job, order, works, report)
            return
        prepared = ahead(works, 1)  # a worker should not wait until its next piece of work has been put together
        try:
            yield from self._run(job, order, prepared, report)
        finally:
            self._kill()
            prepared.close()

    def _run(
        self, job: Job[Order, Work, Result], order: Order, works: Iterator[Work], report: Report
    ) -> Iterator[Result]:
        for cores in shares(self.cores, self.workers):
            self._running.append(self._start(cores))
        for worker in self._running:
            self._tell(worker, "order", job, order)
        for worker in self._running:
            self._hand_on(worker, works)
        while self._running:
            connections = {worker.connection: worker for worker in self._running}
            for connection in wait(list(connections)):
                worker = connections[connection]  # type: ignore[index]
                match self._hear(worker):
                    case "result", result:
                        worker.under_way.pop(0)
                        seconds, worker.since = time.monotonic() - worker.since, time.monotonic()
                        self._hand_on(worker, works, 2 if seconds < QUICK else 1)
                        yield result
                    case "report", message:
                        report(message)
                    case "error", error, trace:
                        raise error from WorkerTraceback(trace)
                    case "end", peak:
                        self._part_with(worker, peak)

    def _start(self, cores: int) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            program = _PROGRAM.format(path=sys.path, descriptor=theirs.fileno(), cores=cores)
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the driver writes to its standard output is its own
                pass_fds=[theirs.fileno(), *self.held],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        return _Worker(process, Connection(ours.detach()), cores)

    def _hand_on(self, worker: _Worker, works: Iterator[Any], most: int = 1) -> None:
        """Work, until it has so many pieces; without any, an idle worker may end."""
        for work in itertools.islice(works, max(0, most - len(worker.under_way))):
            worker.under_way.append(work)
            self._tell(worker, "work", work)
        if not worker.under_way:
            self._tell(worker, "end")

    def _tell(self, worker: _Worker, *message: Any) -> None:
        try:
            worker.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):  # it has died: what it said before comes first
            if not worker.connection.poll():
                self._lose(worker)

    def _hear(self, worker: _Worker) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._lose(worker)
        return message

    def _part_with(self, worker: _Worker, peak: int) -> None:
        """One worker has ended; the others share its cores."""
        self.peaks.append(peak)
        self._running.remove(worker)
        worker.connection.close()
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(_GOODBYE)
        left = len(self._running)
        for other, cores in zip(self._running, shares(self.cores, left) if left else [], strict=True):
            if cores != other.cores:
                other.cores = cores
                self._tell(other, "cores", cores)

    def _lose(self, worker: _Worker) -> NoReturn:
        """Raise `RunError` for a worker that has died."""
        what = f"with {worker.under_way[0]} in hand" if worker.under_way else "before it had any work"
        code = worker.process.wait()
        how = f"ended with status {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            how += " (this is what happens where memory runs out)" if code == -signal.SIGKILL else ""
        raise RunError(f"a worker process {how} {what}; run the same command again to continue")

    def _kill(self) -> None:
        for worker in self._running:
            worker.process.kill()
        for worker in self._running:
            worker.process.wait()
            worker.connection.close()
        self._running = []
