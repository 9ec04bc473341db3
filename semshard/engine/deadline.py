"""The time that a call may take, and trainings that are kept and stopped in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import TimeIsUp
from ..settings import ProtectConfig, VerifyConfig
from .checkpoint import may_stop

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

    def must_stop_now(self) -> bool:
        """Whether what was done since the last question does not fit another time."""
        self._moved, last, self._mark = True, self._mark, time.monotonic()
        return 2 * self._mark - last - self._start > self._seconds


NEVER = Deadline()


@dataclass
class Autosave:
    """Keeps a training from time to time, and stops it, kept, before the deadline."""

    what: str
    deadline: Deadline
    every: float  # seconds
    _saved: float = field(default_factory=time.monotonic)

    def after(self, done: int, config: ProtectConfig | VerifyConfig, save: Callable[[], None]) -> None:
        """Asked after every step. Raises `TimeIsUp`."""
        stop = may_stop(config, done) and self.deadline.must_stop_now()
        if done == config.steps:
            return
        if stop or time.monotonic() - self._saved >= self.every:
            save()
            self._saved = time.monotonic()
        if stop:
            where = f"{self.what} stands at step {done:,} of {config.steps:,}"
            raise TimeIsUp(f"the time is up: {where}; run the same command to go on")
