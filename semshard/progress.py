"""How the library tells its caller what it is doing: one callable, called with one `Event` at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Event:
    """Where a phase stands.

    A phase begins with its first event and ends when `done == total`. An event with a `message` and no `total`
    is a remark to be shown once.
    """

    phase: str  # scan, surrogate, craft, victim …
    done: int = 0
    total: int = 0
    unit: str = ""  # images, steps
    figures: Mapping[str, float] = field(default_factory=dict)  # loss, accuracy …
    message: str = ""


Progress = Callable[[Event], None]


def with_prefix(name: str, progress: Progress) -> Progress:
    """Hands phases on under the name of the run that they are part of."""

    def tell(event: Event) -> None:
        if event.phase != "start":
            progress(replace(event, phase=f"{name}: {event.phase}"))

    return tell


def remarks(progress: Progress, phase: str = "start") -> Callable[[str], None]:
    """What takes a sentence and hands it on as a remark."""
    return lambda sentence: progress(Event(phase, message=sentence))


class Throttle:
    """Whether it is time to report again; rarely enough that asking the device for a loss does not slow it down."""

    def __init__(self, seconds: float = 0.1) -> None:
        self._seconds, self._last = seconds, -seconds

    def __call__(self, always: bool = False) -> bool:
        if not always and time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True


def silent(event: Event) -> None:
    """The default: nobody is watching."""


def duration(seconds: float) -> str:
    """Seconds in words a person would use."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
