"""A pool of Ray Core actors: on this machine, or on the nodes of a cluster. The one module that imports ray.

    driver → actor     what all actors get, once, by the object store: job, order and `enter`, pickled
                       two pieces of work at a time, so that it need not wait for the next one, or one
    actor → driver     ("hello", what it says of itself, node)
                       for each piece of work ("reports", messages) at most once a second, then
                       ("result", result), ("error", exception, traceback), or ("lost", why) where its machine fails

Ray itself restarts nothing and retries nothing: the driver counts attempts, hands a lost actor's work to others, and
starts an actor in its place, which need not be on the same node, and which nothing waits for.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from ..cores import allowed
from ..errors import RunError, SettingError
from ..threads import ahead
from .actor import Actor
from .attempts import Attempts, Book
from .local import WorkerTraceback
from .options import WorkerOptions
from .protocol import Job, Order, Report, Result, Work
from .undisturbed import quiet_output, sigterm_as_it_was

Hello = Mapping[str, str]  # what a worker says of itself
QUEUED = 2  # pieces of work that an actor has: one in hand, and one that it goes on with at once
LEAST = 60.0  # seconds without a sign of life that are always allowed
_TICK = 1.0  # seconds between looks for actors that give no sign of life
_REMIND = 60.0  # seconds without any worker after which the caller is reminded of that
_ANSWER = 20.0  # seconds that a cluster may take to answer; Ray itself ends a driver without a head after 60
_STORE = 1 << 27  # bytes of an object store that is started for a run, besides the order


def enter_as_is(order: Any) -> tuple[Any, Hello]:
    """The order as it is, and nothing to say."""
    return order, {}


@dataclass
class RayPool:
    """So many actors as `options` say, at most `most`.

    Before its first piece of work an actor calls `enter` with the order: it returns the order that the actor works
    with, and what the actor says of itself, which `admit` gets in the driver, with the name of its node, and may raise
    about. After an actor was lost with a piece of work in hand, `lost` cleans up, and returns the result where it was
    done all the same. `remark` gets sentences about what was lost. `queued` pieces of work are with an actor: 1 where
    they are so few and so long that none should wait for one actor while another has nothing to do.

    Raises `SettingError` where there is no such cluster, and `RunError`, when all else is done, for pieces of work that
    were tried once and then `options.retries` times.
    """

    options: WorkerOptions
    most: int
    gpus: float = 0  # of each actor
    enter: Callable[[Any], tuple[Any, Hello]] = enter_as_is
    admit: Callable[[Hello, str], None] = lambda hello, node: None
    lost: Callable[[Any], Any] = lambda work: None
    remark: Callable[[str], None] = lambda sentence: None
    least_patience: float = LEAST
    queued: int = QUEUED
    repeats: bool = True  # whether a piece of work that is tried again says again what it has said

    def run(
        self, job: Job[Order, Work, Result], order: Order, works: Iterable[Work], report: Report
    ) -> Iterator[Result]:
        packed = pickle.dumps((job, order, self.enter))
        with connected(self.options, len(packed)):
            prepared = ahead(works, 1)
            driver = _Driver(self, ray.put(packed), Book(prepared, self.options.retries, _alive), report)
            try:
                yield from driver.results()
            finally:
                driver.dismiss()
                prepared.close()


# --- the driver ---------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Actor:
    handle: Any
    hello: Any  # the reference of what it says first; None once that was heard
    node: str = ""
    tasks: list[tuple[Attempts, Any]] = field(default_factory=list)  # pieces of work that it has, and their messages
    begun: float = 0.0  # when it began with the first of them
    heard: float = 0.0  # when it gave the last sign of life


class _Driver:
    """Hands out work, hears what comes of it, and replaces actors."""

    def __init__(self, pool: RayPool, packed: Any, book: Book, report: Report) -> None:
        self._pool, self._packed, self._book, self._report = pool, packed, book, report
        self._actors: list[_Actor] = []
        self._failed_starts: list[str] = []
        self._count = min(pool.options.workers or max(1, _room(pool.options.cpus_per_worker, pool.gpus)), pool.most)
        self._alone_since = time.monotonic()

    def results(self) -> Iterator[Any]:
        """The results of all pieces of work. Raises as `RayPool` says."""
        while True:
            self._start_actors()
            for actor in self._actors:
                self._hand_on(actor)
            if not self._book.has_more and not any(actor.tasks for actor in self._actors):
                break
            for actor in self._speaking():
                yield from self._hear(actor)
            self._look_after()
        if self._book.given_up:
            raise self._book.error()

    def dismiss(self) -> None:
        with suppress(OSError):  # without a head there is nobody to do it
            _check_answers(ray.get_runtime_context().gcs_address)
            for actor in self._actors:
                _kill(actor)

    def _start_actors(self) -> None:
        """As many as there should be; none any more where too many could not be started."""
        options = self._pool.options
        if len(self._failed_starts) > options.retries:
            if not self._actors:
                raise RunError(f"no worker can be started: {self._failed_starts[-1]}")
            return
        kind = ray.remote(_Worker).options(
            num_cpus=options.cpus_per_worker, num_gpus=self._pool.gpus, max_restarts=0, max_task_retries=0,
            scheduling_strategy="SPREAD",
        )  # fmt: skip
        while len(self._actors) < self._count:
            _wait_for_head()
            handle = kind.remote(options.cpus_per_worker)
            self._actors.append(_Actor(handle, handle.enter.remote(self._packed)))

    def _hand_on(self, actor: _Actor) -> None:
        while actor.hello is None and len(actor.tasks) < self._pool.queued and (attempts := self._book.next()):
            if not actor.tasks:
                actor.begun = actor.heard = time.monotonic()
            attempts.begin()
            messages = actor.handle.work.options(num_returns="streaming").remote(pickle.dumps(attempts.work))
            actor.tasks.append((attempts, messages))

    def _speaking(self) -> list[_Actor]:
        """Actors that have something to say, as soon as there are any, or after a while none."""
        waiting = {each.hello or each.tasks[0][1]: each for each in self._actors if each.hello or each.tasks}
        ready, silent = ray.wait(list(waiting), timeout=_TICK)
        if silent and ready:
            ready += ray.wait(silent, num_returns=len(silent), timeout=0)[0]
        return [waiting[each] for each in ready]

    def _hear(self, actor: _Actor) -> Iterator[Any]:
        try:
            message = ray.get(actor.hello or next(actor.tasks[0][1]))
        except (RayError, StopIteration) as error:
            self._lose(actor, _first_line(error), not getattr(error, "preempted", False))
            return
        actor.heard = time.monotonic()
        match message:
            case "hello", hello, node, address:
                self._pool.admit(hello, address)
                actor.hello, actor.node = None, node
            case "reports", reports:
                attempts, _ = actor.tasks[0]
                for each in attempts.fresh(reports) if self._pool.repeats else reports:
                    self._report(each)
            case "result", result:
                attempts, _ = actor.tasks.pop(0)
                self._book.done(actor.heard - actor.begun)
                actor.begun = actor.heard
                self._hand_on(actor)
                yield attempts.checked(result)
            case "lost", why:
                self._lose(actor, why)
            case _, error, trace:
                raise error from WorkerTraceback(trace)

    def _lose(self, actor: _Actor, reason: str, counts: bool = True) -> None:
        """Another actor does what this one had to do."""
        self._actors.remove(actor)
        _kill(actor)
        if actor.hello is not None:
            self._failed_starts += [reason] if counts else []
            self._pool.remark(f"a worker could not be started: {reason}")
        for attempts, _ in actor.tasks[1:]:
            self._book.give_back(attempts)
        for attempts, _ in actor.tasks[:1]:
            attempts.left = self._pool.lost(attempts.work)
            answer = self._book.lost(attempts, actor.node, reason, counts)
            self._pool.remark(f"a worker was lost with {attempts.work} in hand ({reason}); {answer}")

    def _look_after(self) -> None:
        """Replace actors that have given no sign of life for too long; say so where there are none at all."""
        now, patience = time.monotonic(), max(self._pool.least_patience, self._book.patience)
        for actor in [each for each in self._actors if each.tasks and now - each.heard > patience]:
            self._lose(actor, f"no sign of life for {patience:.0f} s")
        if any(actor.hello is None for actor in self._actors):
            self._alone_since = now
        elif now - self._alone_since > _REMIND:
            self._alone_since = now
            needs = f"{self._pool.options.cpus_per_worker} CPU and {self._pool.gpus:g} GPU"
            self._pool.remark(f"no worker runs yet: each waits for a node with {needs} to spare")


def _kill(actor: _Actor) -> None:
    with suppress(RayError):
        ray.kill(actor.handle)


def _alive() -> set[str]:
    """The nodes of the cluster."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def _room(cpus: int, gpus: float) -> int:
    """How many actors fit on the nodes that there are now."""
    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    each = [(total.get("CPU", 0) // cpus, total.get("GPU", 0) // gpus if gpus else None) for total in totals]
    return int(sum(by_cpus if by_gpus is None else min(by_cpus, by_gpus) for by_cpus, by_gpus in each))


def _first_line(error: BaseException) -> str:
    """What went wrong, as Ray says it, in one line without the numbers of actors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("\t")]
    text = lines[-1] if lines else "no reason is known"
    text = text.split("Worker exit detail: ")[-1].split(" Some common causes include")[0]  # a guess of half a page
    return f"{type(error).__name__}: {text}"


@contextmanager
def connected(options: WorkerOptions, size: int) -> Iterator[None]:
    """A cluster with room for `size` bytes that every actor gets. One that this process is connected to stays so."""
    options.check()
    if ray.is_initialized():
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray starts: nobody is sent figures about this run
    more: dict[str, Any] = {}
    if options.address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # actors would wait for all other programs
        needed = (options.workers or 1) * options.cpus_per_worker
        more = {
            "num_cpus": max(allowed(), needed),
            "object_store_memory": _STORE + 2 * size,
            "include_dashboard": False,
        }
    with quiet_output("ray_"):  # what Ray prints of lost workers, `remark` says, too
        check_reachable(options)
        try:
            with sigterm_as_it_was():
                ray.init(options.address, log_to_driver=False, logging_level=logging.ERROR, **more)
        except (OSError, RuntimeError, ValueError) as error:
            raise _no_cluster(options, error) from None
        try:
            yield
        finally:
            with redirect_stdout(sys.stderr):  # what its threads had not printed yet
                ray.shutdown()


def check_reachable(options: WorkerOptions) -> None:
    """Raise `SettingError` where nothing listens at the address of the cluster."""
    try:
        _check_answers(options.address)
    except OSError as error:
        raise _no_cluster(options, error) from None


def _no_cluster(options: WorkerOptions, error: Exception) -> SettingError:
    return SettingError(f"no Ray cluster at {options.address}: {_first_line(error)}")


def _wait_for_head() -> None:
    """Raise `RunError` where the head of the cluster is gone. Without it no actor can be started, or killed."""
    address, until = ray.get_runtime_context().gcs_address, time.monotonic() + _ANSWER
    while True:
        try:
            _check_answers(address)
            return
        except OSError as error:
            if time.monotonic() > until:
                why = f"the head of the Ray cluster at {address} is gone ({error})"
                raise RunError(f"{why}; run the same command again, on a cluster that is there, to continue") from None
        time.sleep(_TICK)


def _check_answers(address: str) -> None:
    """Raise `OSError` where nothing listens at an address, for which Ray itself would wait a minute and more."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()


class _Worker(Actor):
    """An actor that knows where it is."""

    def enter(self, packed: bytes) -> tuple[Any, ...]:
        answer = super().enter(packed)
        here = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
        return (*answer, *here) if answer[0] == "hello" else answer
