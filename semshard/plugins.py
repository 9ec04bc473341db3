"""What other packages add: sources, methods and countermeasures, found by entry points and loaded when first used.

    [project.entry-points."semshard.methods"]
    stripes = "my_package:STRIPES"

A built-in name always means what is built in. An installed package runs with the rights of its user, as semshard does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar

from .errors import SemshardError, SettingError, UsageError

Kind = Literal["sources", "methods", "countermeasures"]
T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9_+-]*")


@dataclass(frozen=True)
class Plugin:
    """One thing that a package adds, not loaded yet."""

    kind: Kind
    name: str
    package: str
    version: str
    entry: EntryPoint

    def __str__(self) -> str:
        return f"{self.kind.removesuffix('s')} {self.name} of package {self.package} {self.version}"

    def load(self, expected: type[T], error: type[UsageError] = SettingError) -> T:
        """What the entry point names. Raises `error` where it cannot be loaded, or is not an `expected` of its name."""
        try:
            found = self.entry.load()
        except Exception as problem:
            raise error(f"{self} cannot be loaded: {in_words(problem)}") from problem
        if not isinstance(found, expected):
            raise error(f"{self} is a {type(found).__name__}, not a {expected.__name__}")
        if getattr(found, "name", self.name) != self.name:
            raise error(f"{self} calls itself {getattr(found, 'name', '')!r}; both names must be the same")
        return found

    def guarded(self, function: Callable[..., Any], error: type[SemshardError]) -> Callable[..., Any]:
        """`function` of the plugin; what it raises, errors of semshard excepted, names the plugin."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except SemshardError:
                raise
            except Exception as problem:
                raise error(f"{self} failed: {in_words(problem)}") from problem

        return run

    def to_json(self) -> dict[str, str]:
        """As in the manifest."""
        return {"kind": self.kind, "name": self.name, "package": self.package, "version": self.version}


def plugin(kind: Kind, name: str, error: type[UsageError] = SettingError) -> Plugin | None:
    """The plugin of that kind and name, if one is installed. Raises `error` where several packages have one."""
    found = _installed(kind).get(name, ())
    if len(found) > 1:
        packages = ", ".join(f"{each.package} {each.version}" for each in found)
        raise error(f"several packages have a {kind.removesuffix('s')} {name}: {packages}; uninstall all but one")
    return found[0] if found else None


def names(kind: Kind, builtin: Container[str]) -> list[str]:
    """The names that packages add to the built-in ones, in alphabetical order. Nothing is loaded."""
    return [name for name in sorted(_installed(kind)) if name not in builtin and _NAME.fullmatch(name)]


def loaded(kind: Kind, builtin: Container[str], load: Callable[[Plugin], T]) -> tuple[list[T], list[str]]:
    """Every plugin of a kind as `load` returns it, by name; and why others cannot be used, a sentence each."""
    found, problems = list[T](), list[str]()
    for name, several in sorted(_installed(kind).items()):
        if name in builtin or not _NAME.fullmatch(name):
            why = "that is a built-in name" if name in builtin else "a name is a-z, then a-z, 0-9, _, + and -"
            problems.append(f"{several[0]} is ignored: {why}")
            continue
        try:
            if one := plugin(kind, name):
                found.append(load(one))
        except SemshardError as error:
            problems.append(str(error))
    return found, problems


def in_words(problem: BaseException) -> str:
    """An error of a plugin in one line."""
    return f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0]}"


@functools.cache
def _installed(kind: Kind) -> dict[str, tuple[Plugin, ...]]:
    """Plugins by name; a package that is found twice counts once."""
    found: dict[str, dict[tuple[str, str], Plugin]] = {}
    for entry in entry_points(group=f"semshard.{kind}"):
        package = (entry.dist.name, entry.dist.version) if entry.dist else ("?", "?")
        found.setdefault(entry.name, {}).setdefault(package, Plugin(kind, entry.name, *package, entry))
    return {name: tuple(several.values()) for name, several in found.items()}
