"""Exit codes of the program, and the signal that ends it as Ctrl-C does."""

from __future__ import annotations

import signal
from types import FrameType

CODES = {
    0: "done, or nothing to do",
    1: "the run failed, a check did not pass, or the disk is full",
    2: "wrong usage: an option, a source or an output that does not fit",
    75: "the time given with --minutes is up; the same command continues",
    130: "interrupted with Ctrl-C; the same command continues",
    143: "ended with SIGTERM; the same command continues",
}
INTERRUPTED, TERMINATED = 130, 143  # 128 + the number of the signal


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a service manager, a container or a batch system sends before it kills."""


def end_on_sigterm() -> None:
    """From now on SIGTERM ends this process like Ctrl-C, by an exception in its main thread."""
    signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated
