"""Fair timings: what is compared runs alternately, and medians are taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

LONG = 5.0  # seconds


def medians(
    actions: Mapping[str, Callable[[], object]], repeats: int, device: torch.device, together: int = 1
) -> dict[str, float]:
    """Seconds of each action: the median of `repeats` runs, taken in turn after a warm-up of each.

    `together` runs of an action are timed as one: the host waits for the device after the last of them only. A warm-up
    longer than `LONG` seconds counts, too: what it warms up is a small part of it.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for round in range(repeats + 1):
        for name, action in actions.items():
            _wait(device)
            start = time.perf_counter()
            for _ in range(together):
                action()
            _wait(device)
            seconds = (time.perf_counter() - start) / together
            if round or seconds * together > LONG:
                times[name].append(seconds)
    return {name: statistics.median(of) for name, of in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
