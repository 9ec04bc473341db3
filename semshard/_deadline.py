"""The time that a call may take."""

from __future__ import annotations

import math
import time

from .errors import TimeIsUp

_BEGINS = 3 / 4  # of the time: after it nothing long is begun


class Deadline:
    """Asked before something long begins, and wherever a training may stop; it lets no call end without progress."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._start = self._mark = time.monotonic()
        self._moved = False

    def begin(self, what: str) -> None:
        """Raises `TimeIsUp` where too little time is left to begin `what`."""
        self._mark = time.monotonic()
        if self._moved and self._mark - self._start > _BEGINS * self._seconds:
            raise TimeIsUp(f"the time is up before {what}; run the same command again to go on")

    def near(self) -> bool:
        """Whether what was done since the last question does not fit another time."""
        self._moved, last, self._mark = True, self._mark, time.monotonic()
        return 2 * self._mark - last - self._start > self._seconds

    def over(self, what: str, done: int, steps: int) -> TimeIsUp:
        """What to raise where a training stops."""
        return TimeIsUp(f"the time is up: {what} stands at step {done:,} of {steps:,}; run the same command to go on")


NEVER = Deadline()
