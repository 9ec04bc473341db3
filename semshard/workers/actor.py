"""An actor on some machine: it takes the order once, then pieces of work, and says what comes of them.

Pieces of work are done by a thread of their own, so that their reports can be sent on while they go on; by the same one
all the time, which keeps the memory that the last piece needed.
"""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from ..cores import set_cores
from .process import one_thread, sendable
from .protocol import run_alone

Say = Callable[[tuple[Any, ...]], None]

SIGN = 1.0  # seconds between two signs of life of an actor that reports, at least


class Actor:
    """One of a pool's actors, with so many cores. `ray_pool` lists its answers."""

    def __init__(self, cores: int) -> None:
        os.environ["OMP_NUM_THREADS"] = "1"  # read by libraries that the order is going to load
        set_cores(cores)
        self._works = queue.SimpleQueue[tuple[bytes, Say]]()
        threading.Thread(target=self._serve, daemon=True).start()

    def enter(self, packed: bytes) -> tuple[Any, ...]:
        try:
            self._job, order, enter = pickle.loads(packed)  # noqa: S301  # of the driver
            one_thread()
            self._order, hello = enter(order)
        except Exception as error:
            return "error", sendable(error), traceback.format_exc()
        return "hello", hello

    def work(self, packed: bytes) -> Iterator[tuple[Any, ...]]:
        """What happens while a piece of work is done by the other thread: this one says so."""
        messages = queue.SimpleQueue[tuple[Any, ...]]()
        self._works.put((packed, messages.put))
        reports, since = list[Any](), time.monotonic()
        while True:
            kind, *rest = messages.get()
            reports += rest if kind == "report" else []
            if reports and (kind != "report" or time.monotonic() - since >= SIGN):
                yield "reports", reports
                reports, since = [], time.monotonic()
            if kind != "report":
                yield kind, *rest
                return

    def _serve(self) -> None:
        while True:
            self._do(*self._works.get())

    def _do(self, packed: bytes, say: Say) -> None:
        try:
            work = pickle.loads(packed)  # noqa: S301  # of the driver
            say(("result", run_alone(self._job, self._order, work, lambda message: say(("report", message)))))
        except BaseException as error:
            if isinstance(error, OSError | MemoryError) or type(error).__name__ == "OutOfMemoryError":  # CUDA's
                say(("lost", f"{type(error).__name__}: {error}"))  # another machine may be better off
            else:
                say(("error", sendable(error), traceback.format_exc()))
