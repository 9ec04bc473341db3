"""Where it runs: device, precision, random streams, schedules."""

from .folded import Frozen
from .runtime import Runtime, choose_preset, deterministic, make_runtime
from .schedule import batch_numbers, learning_rate, permutation
from .step import parameter_step, set_learning_rate, sgd

__all__ = [
    "Frozen",
    "Runtime",
    "batch_numbers",
    "choose_preset",
    "deterministic",
    "learning_rate",
    "make_runtime",
    "parameter_step",
    "permutation",
    "set_learning_rate",
    "sgd",
]
