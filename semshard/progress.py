"""How the library tells its caller what it is doing: one callable, called with one `Event` at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


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


def silent(event: Event) -> None:
    """The default: nobody is watching."""
