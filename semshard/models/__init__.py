"""Surrogates and victims: one function builds any of them."""

from .networks import build, build_from
from .seeded import seeded
from .weights import Weights, head, read_weights

__all__ = ["Weights", "build", "build_from", "head", "read_weights", "seeded"]
