"""The time that a call may take."""

from __future__ import annotations

import math
import time

from ..errors import TimeIsUp

_LATEST_START = 3 / 4  # of the time: after it nothing long is started


class Deadline:
    """Asked before something long starts, and wherever a training may stop; it lets no call end without progress."""

    def __init__(self, seconds: float = math.inf) -> None:
        self._seconds = seconds
        self._start = self._mark = time.monotonic()
        self._moved = False

    def begin(self, what: str) -> None:
        """Raises `TimeIsUp` where too little time is left to start `what`."""
        self._mark = time.monotonic()
        if self._moved and self._mark - self._start > _LATEST_START * self._seconds:
            raise TimeIsUp(f"the time is up before {what}; run the same command again to continue")

    def must_stop_now(self) -> bool:
        """Whether the work since the last question would not fit into the remaining time once more."""
        self._moved, last, self._mark = True, self._mark, time.monotonic()
        return 2 * self._mark - last - self._start > self._seconds


NEVER = Deadline()
