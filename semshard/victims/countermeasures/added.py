"""Countermeasures of plugins: filters and augmentations of other packages, loaded when first asked for."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from ...errors import RunError, SettingError
from ...filters import Filter, Pixels
from ...plugins import Plugin, loaded, plugin
from ...settings import COUNTERMEASURES
from .table import Countermeasure


class ByName(dict[str, Countermeasure]):
    """The built-in countermeasures, and by `[name]` those of plugins, too. Iterating gives the built-in ones."""

    def __missing__(self, name: str) -> Countermeasure:
        found = plugin("countermeasures", name)
        if found is None:
            raise SettingError(f"countermeasure {name!r} is unknown")
        return load_countermeasure(found)


def version_of(name: str) -> tuple[str, ...]:
    """Package and version of a countermeasure that a plugin adds; nothing for built-in ones."""
    found = None if name in COUNTERMEASURES else plugin("countermeasures", name)
    return (found.package, found.version) if found else ()


def added_countermeasures() -> tuple[list[Countermeasure], list[str]]:
    """The countermeasures that packages add, and why others of theirs cannot be used."""
    return loaded("countermeasures", COUNTERMEASURES, load_countermeasure)


@functools.cache
def load_countermeasure(found: Plugin) -> Countermeasure:
    """The countermeasure of a plugin. Raises `SettingError` where it is none that other packages can add."""
    one = found.load(Countermeasure)
    if (one.filter is None) == (one.augment is None) or one.learns or one.unlabelled or not one.label:
        raise SettingError(f"{found} must have a label, and either a filter or an augment, nothing that learns")
    if one.filter:
        return replace(one, filter=_checked(found, one.filter))
    return replace(one, augment=found.guarded(one.augment, RunError) if one.augment else None)


def _checked(found: Plugin, filter: Filter) -> Filter:
    """A filter that must return what it was promised to."""
    guarded = found.guarded(filter, RunError)

    def run(picture: Pixels) -> Pixels:
        filtered = guarded(picture.copy())
        if not isinstance(filtered, np.ndarray) or (filtered.dtype, filtered.shape) != (np.uint8, picture.shape):
            raise RunError(f"{found}: the filter must return uint8 of shape {picture.shape}")
        return filtered

    return run
