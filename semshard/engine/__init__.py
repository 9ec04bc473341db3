"""Where it runs: device, precision, random streams, schedules."""

from .runtime import Runtime, choose_preset, deterministic, make_runtime
from .schedule import batch_numbers, learning_rate, permutation

__all__ = [
    "Runtime",
    "batch_numbers",
    "choose_preset",
    "deterministic",
    "learning_rate",
    "make_runtime",
    "permutation",
]
