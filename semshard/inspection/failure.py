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
