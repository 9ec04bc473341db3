"""Surrogates and victims: one function builds any of them."""

from .networks import NETWORKS, build

__all__ = ["NETWORKS", "build"]
