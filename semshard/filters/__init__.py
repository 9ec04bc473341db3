"""What attackers do to pictures without learning anything, and what audit predicts of it."""

from .filters import Filter, bits, equalise, gaussian, grey, jpeg, mean, median, normalise, resize, stack

__all__ = [
    "Filter",
    "bits",
    "equalise",
    "gaussian",
    "grey",
    "jpeg",
    "mean",
    "median",
    "normalise",
    "resize",
    "stack",
]
