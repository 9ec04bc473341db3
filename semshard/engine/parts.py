"""Parts of a batch at once, each in one thread: how a CPU's cores share a pass.

Inside an operation torch's threads wait for each other by spinning, hundreds of times per step; beside another busy
program, each wait lasts until the scheduler lets a stopped thread run again, and a training comes to a standstill. Here
every operation runs in one thread, and threads meet only after a whole part: one that has finished takes the next part.

How a batch is parted depends on its size alone, and sums over parts are taken in their order. So results do not depend
on the number of threads.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..cores import allowed
from .captured import on_gpu

PARTS = 2  # of a batch, at least
MOST = 32  # images of a part: more do not lower the cost of starting operations by much, and fall out of the cache
LEAST = 16  # images that are worth a thread
LOOK = 1.0  # seconds between two looks at how many cores there are

T = TypeVar("T")
R = TypeVar("R")


def parts(count: int, device: torch.device, most: int = MOST) -> list[slice]:
    """A batch of `count` images in parts of at most `most`, that depend on nothing else; a GPU takes it whole."""
    if on_gpu(device) or count == 0:
        return [slice(0, count)]
    size = min(most, -(-count // PARTS))
    return [slice(at, min(at + size, count)) for at in range(0, count, size)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it, every operation that this thread starts runs in this thread alone."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def spare() -> int:
    """Threads that have nothing to do."""
    return _TEAM.spare()


def in_parts(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of each item, in order; the calling thread and those that are idle take one after the other.

    May be called inside `function`: whoever calls works itself, so nobody waits for a thread that is not there.
    """
    with one_thread():
        return _TEAM.map(function, items)


class _Team:
    """The threads of this process, one fewer than cores: the caller is the other one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size = self._idle = 0
        self._looked = -math.inf

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        numbers, results = itertools.count(), dict[int, R]()
        gradients = torch.is_grad_enabled()

        def work() -> None:
            with torch.set_grad_enabled(gradients):
                try:
                    while (number := next(numbers)) < len(items):
                        results[number] = function(items[number])
                except BaseException:
                    next(itertools.islice(numbers, len(items), None), None)  # nobody begins another item
                    raise

        helpers = self._hire(len(items) - 1, work)
        try:
            work()
        finally:
            wait(helpers)
        for helper in helpers:
            helper.result()
        return [results[number] for number in range(len(items))]

    def _hire(self, wanted: int, work: Callable[[], None]) -> list[Future[None]]:
        """Idle threads, at most so many as wanted, that do the work, too."""

        def help_out() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._idle += 1

        if wanted < 1:
            return []
        with self._lock:
            self._resize()
            helpers = max(0, min(wanted, self._idle))
            self._idle -= helpers
            return [self._pool.submit(help_out) for _ in range(helpers)] if self._pool else []

    def spare(self) -> int:
        with self._lock:
            self._resize()
            return max(0, self._idle)

    def _resize(self) -> None:
        """Have as many threads as cores allow, which may change while a run goes on."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked, size = now, allowed() - 1
        if size != self._size:
            if self._pool:
                self._pool.shutdown(wait=False)
            self._pool = ThreadPoolExecutor(size, "parts", torch.set_num_threads, (1,)) if size > 0 else None
            self._idle += size - self._size
            self._size = size


_TEAM = _Team()
