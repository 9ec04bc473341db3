"""Requests that are tried again, a limited number of times, each of which is reported."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .place import Remark

T = TypeVar("T")
_RANDOM = random.SystemRandom()  # of the waiting times alone


@dataclass(frozen=True)
class Limits:
    """How long an object store is waited for, and how much of an object is sent or read at once."""

    attempts: int = 6  # of each request, the first among them
    wait: float = 0.5  # seconds before the second attempt, at most; twice as long before each further one
    longest_wait: float = 20.0  # seconds
    timeout: float = 120.0  # seconds that a request may take
    connect_timeout: float = 10.0  # seconds, of these, until there is a connection
    part: int = 16 << 20  # bytes in a request; a larger object is sent and read in several
    together: int = 4  # parts that are under way at once


class Passing(Exception):
    """A request failed in a way that another attempt may not; the message says how."""


def attempt(request: Callable[[], T], limits: Limits, what: str, remark: Remark, most: int = 0) -> T:
    """What `request` returns, tried again while it raises `Passing`; at most `limits.attempts` times, or `most`.

    `what` names the request in remarks. Raises the last `Passing`.
    """
    most = most or limits.attempts
    for number in range(1, most + 1):
        try:
            return request()
        except Passing as problem:
            if number == most:
                raise
            remark(f"{what}: {problem}; attempt {number + 1} of {most} follows")
        longest = min(limits.longest_wait, limits.wait * 2 ** (number - 1))
        time.sleep(longest * (1 + _RANDOM.random()) / 2)  # several processes do not come back all at once
    raise AssertionError  # the last attempt has returned or raised
