"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def loader(package: str, home: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: `home` has the names by the module of semshard that they are in."""

    def load(name: str) -> Any:
        for module, names in home.items():
            if name in names:
                return getattr(import_module(f"semshard.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
