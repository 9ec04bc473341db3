"""Work beside the main thread, with bounded queues: a fast stage waits for a slow one, and memory stays flat.

    ahead          a thread makes items before they are asked for      source → [thread] → here
    ordered_map    a few threads, results in the order of the items
    behind         a thread consumes what is put                       here → [thread] → files

What goes wrong in a thread is raised here; what goes wrong here stops the thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

from .cores import allowed

T = TypeVar("T")
R = TypeVar("R")
DEPTH = 2  # items between two stages
_POLL = 0.1  # seconds between checks that the other side is still there


class _Ended(Exception):
    """The other side is gone."""


class _Pipe:
    """A bounded queue between two threads, each of which learns when the other has ended."""

    def __init__(self, depth: int) -> None:
        self._queue: Queue[object] = Queue(depth)
        self._end = object()
        self.abandoned = Event()  # by whoever takes: nothing more is wanted
        self.broken = Event()  # by whoever puts: nothing more will come, and what came is not to be finished

    def put(self, item: object) -> None:
        while not self.abandoned.is_set():
            try:
                return self._queue.put(item, timeout=_POLL)
            except Full:
                continue
        raise _Ended

    def close(self) -> None:
        self.put(self._end)

    def items(self) -> Iterator[object]:
        while not self.broken.is_set():
            try:
                item = self._queue.get(timeout=_POLL)
            except Empty:
                continue
            if item is self._end:
                return
            yield item
        raise _Ended


def ahead(items: Iterable[T], depth: int = DEPTH) -> Generator[T, None, None]:
    """The items, made by a thread of their own that is at most `depth` of them ahead."""
    pipe, failures = _Pipe(depth), list[BaseException]()

    def make() -> None:
        try:
            for item in items:
                pipe.put(item)
            pipe.close()
        except _Ended:
            pass
        except BaseException as failure:
            failures.append(failure)
            pipe.broken.set()

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        yield from pipe.items()  # type: ignore[misc]
    except _Ended:
        raise failures[0] from None
    finally:
        pipe.abandoned.set()
        thread.join()


@contextmanager
def behind(consume: Callable[[Iterator[T]], None], depth: int = DEPTH) -> Iterator[Callable[[T], None]]:
    """A function that hands an item to a thread running `consume(items)`, which is at most `depth` of them behind.

    Leaving the block waits until all is consumed. Leaving it by an exception makes the items end in one, too.
    """
    pipe, failures = _Pipe(depth), list[BaseException]()

    def work() -> None:
        try:
            consume(pipe.items())  # type: ignore[arg-type]
        except _Ended:
            pass
        except BaseException as failure:
            failures.append(failure)
        finally:
            pipe.abandoned.set()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield pipe.put
        pipe.close()
        thread.join()  # here, so that what interrupts it does not leave the thread behind
    except _Ended:  # the consumer failed, and says why below
        pass
    except BaseException:
        pipe.broken.set()
        thread.join()
        raise
    thread.join()
    if failures:
        raise failures[0]


def ordered_map(
    function: Callable[[T], R],
    items: Iterable[T],
    each: int = 4,
    weight: Callable[[T], int] = lambda item: 0,
    most: int = 0,
) -> Iterator[R]:
    """`map`, by a few threads, in order, with at most `each` results per thread under way or waiting; and together at
    most the weight `most`, unless one item alone is heavier.
    """
    workers = allowed()
    if workers == 1:  # nothing can be done beside it, and a thread would cost more than it saves
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting, held = deque[tuple[Future[R], int]](), 0
        for item in items:
            item_weight = weight(item)
            while waiting and (len(waiting) >= each * workers or held + item_weight > most):
                first, weight_of_first = waiting.popleft()
                yield first.result()
                held -= weight_of_first
            waiting.append((pool.submit(function, item), item_weight))
            held += item_weight
        while waiting:
            yield waiting.popleft()[0].result()
