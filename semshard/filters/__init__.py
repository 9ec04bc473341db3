"""What attackers do to pictures without learning anything, and what audit predicts of it."""

from .filters import Filter, Pixels, bits, equalise, gaussian, grey, jpeg, mean, median, normalise, resize, stack

__all__ = [
    "Filter",
    "Pixels",
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
