"""Fair timings: what is compared runs alternately, and medians are taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

LONG = 5.0  # seconds


def medians(actions: Mapping[str, Callable[[], object]], repeats: int, device: torch.device) -> dict[str, float]:
    """Seconds of each action: the median of `repeats` runs, taken in turn after a warm-up of each.

    A warm-up longer than `LONG` seconds counts, too: what it warms up is a small part of it.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for round in range(repeats + 1):
        for name, action in actions.items():
            _wait(device)
            start = time.perf_counter()
            action()
            _wait(device)
            seconds = time.perf_counter() - start
            if round or seconds > LONG:
                times[name].append(seconds)
    return {name: statistics.median(of) for name, of in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
