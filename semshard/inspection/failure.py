"""What an audit reports: broken promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Fail = Callable[..., None]  # takes where, problem, key; the first and the last may be bound already


@dataclass(frozen=True)
class Failure:
    """One broken promise."""

    where: str  # a file of the public folder, or the ledger
    key: str  # the sample, or "" for the whole file
    problem: str

    def __post_init__(self) -> None:
        for name in ("where", "key", "problem"):
            object.__setattr__(self, name, _printable(getattr(self, name)))


def _printable(text: str) -> str:
    """Text from damaged or hostile files, as a terminal or a JSON file can show it."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in plain)
