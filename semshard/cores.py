"""How many CPU cores this process may use: its affinity mask, its control groups' limit, and OMP_NUM_THREADS."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/")
_given: int | None = None  # by `set_cores`


def set_cores(count: int | None) -> None:
    """Allow this process `count` cores, at least 1, whatever `cores` says; None lets `cores` decide again. Any thread
    may call this at any time: whoever starts threads asks `allowed` first.
    """
    global _given
    _given = None if count is None else max(1, count)


@contextmanager
def limited(count: int) -> Iterator[None]:
    """Within it this process is allowed `count` cores."""
    before = _given
    set_cores(count)
    try:
        yield
    finally:
        set_cores(before)


def allowed() -> int:
    """How many threads this process may keep busy at once."""
    return _given or cores()


def cores(root: Path = ROOT) -> int:
    """At least 1. A limit of 1.5 CPUs counts as one core: two threads would both be stopped for a quarter of the time.

    `root` is where `proc` and `sys` are mounted.
    """
    allowed = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    limit = cpu_limit(root)
    if limit is not None:
        allowed.append(math.floor(limit))
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2" is for nested regions
    if asked.isdigit():
        allowed.append(int(asked))
    return max(1, min(allowed))


def cpu_limit(root: Path = ROOT) -> float | None:
    """CPUs that the control groups of this process grant, version 1 or 2; None without a limit."""
    return min(_limits(root), default=None)


def _limits(root: Path) -> Iterator[float]:
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mounted = root / "sys/fs/cgroup"
    for line in groups:
        _, controllers, path = line.split(":", 2)
        second = not controllers
        if not second and "cpu" not in controllers.split(","):
            continue
        top = mounted if second else mounted / "cpu"
        folder = top / path.lstrip("/")
        for place in (folder, *folder.parents):  # a limit holds for all groups below it
            quota, period = _second(place) if second else _first(place)
            if quota > 0 and period > 0:
                yield quota / period
            if place == top:
                break


def _second(group: Path) -> tuple[int, int]:
    """cpu.max of version 2: "max 100000" or "150000 100000"."""
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return (int(quota), int(period)) if quota.isdigit() and period.isdigit() else (-1, -1)


def _first(group: Path) -> tuple[int, int]:
    quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    return (int(quota), int(period)) if quota.isdigit() and period.isdigit() else (-1, -1)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
