"""What a pool remembers of pieces of work whose workers may be lost: how often each was tried, and what it has said.

A piece of work is done again from its beginning, and says the same again: what was handed on is not handed on twice. An
attempt does not count where its node is gone, or was taken away with notice: that says nothing about the work.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import RunError

TENFOLD = 10  # times the median of a piece of work without a sign of life: the worker is taken for lost
UNKNOWN = 1800.0  # seconds without a sign of life that are allowed before any piece of work is done
SHOWN = 3  # pieces of work that an error names
FUTILE = 10  # pieces of work that are given up one after the other: the next would end the same way


@dataclass(eq=False)
class Attempts:
    """A piece of work and what became of it so far."""

    work: Any
    failed: list[tuple[str, str]] = field(default_factory=list)  # node and reason of attempts that may count
    handed_on: int = 0  # its reports that the driver's caller has
    said: int = 0  # its reports in this attempt
    left: Any = None  # the result that a lost worker left behind

    def begin(self) -> None:
        """A new attempt."""
        self.said = 0

    def fresh(self, reports: Sequence[Any]) -> Sequence[Any]:
        """Those of the next reports of this attempt that no earlier attempt has given."""
        new = reports[max(0, self.handed_on - self.said) :]
        self.said += len(reports)
        self.handed_on = max(self.handed_on, self.said)
        return new

    def checked(self, result: Any) -> Any:
        """The result. Raises `RunError` where a lost worker had left another one."""
        if self.left is not None and result != self.left:
            raise RunError(
                f"{self.work} was made twice and came out with other bytes: two machines differ although they say the "
                "same of themselves. Find out which one is wrong, delete its shards, and run the same command again"
            )
        return result


class Book:
    """All pieces of work of a run: those that are to be tried again come first."""

    def __init__(self, works: Iterator[Any], retries: int, alive: Callable[[], set[str]]) -> None:
        self._works, self._retries, self._alive = works, retries, alive
        self._again, self._more = deque[Attempts](), True
        self._seconds = deque[float](maxlen=1000)
        self._futile = 0
        self.given_up: list[Attempts] = []

    def next(self) -> Attempts | None:
        """A piece of work to begin with; None where there is none now."""
        if self._again:
            return self._again.popleft()
        for work in self._works if self._more else ():
            return Attempts(work)
        self._more = False
        return None

    @property
    def has_more(self) -> bool:
        """Whether there may be pieces of work that nobody has."""
        return bool(self._again) or self._more

    def done(self, seconds: float) -> None:
        """A piece of work is done, after so many seconds."""
        self._seconds.append(seconds)
        self._futile = 0

    def give_back(self, attempts: Attempts) -> None:
        """A piece of work that its worker had not begun."""
        self._again.append(attempts)

    def lost(self, attempts: Attempts, node: str, reason: str, counts: bool = True) -> str:
        """A worker was lost with this piece of work in hand: what is done now, in words. Raises `RunError` where
        nothing seems to succeed any more.
        """
        if counts:
            attempts.failed.append((node, reason))
        counted = len(attempts.failed)
        if counted > self._retries:
            here = self._alive()
            counted = sum(where in here for where, _ in attempts.failed)
        if counted <= self._retries:
            self._again.appendleft(attempts)
            return f"it is made again, attempt {counted + 1} of {self._retries + 1}"
        self.given_up.append(attempts)
        self._futile += 1
        if self._futile >= FUTILE:
            raise self.error()
        return f"it is left out after {counted} attempts"

    @property
    def patience(self) -> float:
        """Seconds without a sign of life after which a worker is taken for lost."""
        return TENFOLD * statistics.median(self._seconds) if self._seconds else UNKNOWN

    def error(self) -> RunError:
        """Which pieces of work could not be done, and why."""
        named = [f"{each.work} ({each.failed[-1][1]})" for each in self.given_up[:SHOWN]]
        more = len(self.given_up) - SHOWN
        others = f" and {more} more" if more > 0 else ""
        return RunError(
            f"could not be made, each after {self._retries + 1} attempts: {'; '.join(named)}{others}. What else was "
            "made stays; find the cause, then run the same command again"
        )
