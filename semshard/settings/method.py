"""What a method of protection is, in words, and how one of a plugin makes its noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..plugins import Plugin, plugin
from .names import METHODS


@dataclass(frozen=True)
class Method:
    """A name for --method, and what you should know before choosing it; the built-in ones are rows of the paper's
    tables. `survives` is what the SEM paper's Table 2 says of CIFAR-10 (chance is 10 %).

    A method of a plugin has `make`, which is called as `make(config=…, classes=…, size=…, device=…, model=…)` and
    returns a `Noise`; `model` is the trained surrogate, None for a method without one.
    """

    name: str
    line: str
    paper: str
    survives: str = "not measured"
    surrogate: bool = True  # of a plugin: whether a surrogate is trained for it
    make: Callable[..., Any] | None = None


def method_plugin(method: str) -> Plugin | None:
    """The plugin that adds a method; None for built-in ones."""
    return None if method in METHODS else plugin("methods", method)
