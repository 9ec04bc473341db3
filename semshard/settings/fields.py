"""How a setting is declared: every fact about it stands once, at its field, and lists of settings follow from these."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ..errors import SettingError
from ..plugins import Kind, names, plugin

NOT_GIVEN: Any = object()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """The facts about one setting of a config."""

    help: str
    group: str  # what it belongs to: the panel of its option in --help
    common: bool = False  # among the options that most people need first
    default: Any = NOT_GIVEN  # where every preset has the same
    follows: str = ""  # the radius that it keeps its share of, where only the radius is given
    radius: bool = False  # in units of the pixel range [0, 1], written as "8/255"
    choices: tuple[str, ...] = ()
    plugins: Kind | None = None  # that add choices
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    # Of a protection:
    unused_by: tuple[str, ...] = ()  # methods that do not read it
    trains_surrogate: bool = False  # the training of the surrogate depends on it
    may_differ: bool = False  # and yet a given surrogate may have been trained with another value
    sweepable: bool = True  # its values can be compared in a sweep, which has one collection and one preset
    # Of victims:
    in_recipe: bool = True  # it says how a victim is trained, not which victims there are, or on which samples
    only_with: str = ""  # the kind of training that reads it: "adversary", "early-stop"
    not_for: tuple[str, ...] = ()  # runs that do not let the user set it: "study", "table"
    # Of its field:
    name: str = ""
    type: str = ""

    @property
    def several(self) -> bool:
        """Whether its value is a tuple."""
        return self.type.startswith("tuple")

    @property
    def kind(self) -> str:
        """The type of its value, or of each item of it: str, int, float or bool."""
        return self.type.removeprefix("tuple[").removesuffix(", ...]")


def setting(help: str, **facts: Any) -> Any:
    """A field of a config, with the facts that `Setting` lists."""
    return dataclasses.field(metadata={"setting": Setting(help=help, **facts)})


_DECLARED: dict[type[Any], dict[str, Setting]] = {}  # read from each class once: configs are checked at every step


def declared(cls: type[Any]) -> dict[str, Setting]:
    """The settings of a config class by name, in the order of its fields."""
    if cls not in _DECLARED:
        _DECLARED[cls] = {
            f.name: dataclasses.replace(f.metadata["setting"], name=f.name, type=str(f.type))
            for f in dataclasses.fields(cls)
        }
    return _DECLARED[cls]


def names_where(cls: type[Any], **facts: Any) -> tuple[str, ...]:
    """The settings whose declaration has all these facts, in the order of the fields; a fact that is a tuple must
    contain the value: `names_where(ProtectConfig, group="noise", unused_by="tap")`.
    """

    def holds(one: Setting, fact: str, value: Any) -> bool:
        actual = getattr(one, fact)
        return value in actual if isinstance(actual, tuple) else bool(actual == value)

    return tuple(
        name for name, one in declared(cls).items() if all(holds(one, fact, value) for fact, value in facts.items())
    )


def defaults(cls: type[Any], **facts: Any) -> dict[str, Any]:
    """The default of every setting that has one whatever the preset; only of those where the facts hold."""
    names = names_where(cls, **facts)
    return {name: declared(cls)[name].default for name in names if declared(cls)[name].default is not NOT_GIVEN}


def check_fields(config: Any) -> None:
    """Raise `SettingError` where a value is not among the choices of its setting, or outside its bounds."""
    for name, one in declared(type(config)).items():
        value = getattr(config, name)
        items = value if one.several else (value,)
        if not items:
            raise SettingError(f"{name} is empty")
        for item in items:
            if one.choices and item not in one.choices and not (one.plugins and plugin(one.plugins, item)):
                more = names(one.plugins, one.choices) if one.plugins else ()
                raise SettingError(f"{name} = {item!r} is unknown; choose one of: {', '.join((*one.choices, *more))}")
            if not all(_within(one, item)):
                raise SettingError(f"{name} = {item} must {_range(one)}")


def _within(one: Setting, value: Any) -> Iterator[bool]:
    """Whether a value keeps each of the bounds that there are. NaN keeps none."""
    if one.at_least is not None:
        yield value >= one.at_least
    if one.at_most is not None:
        yield value <= one.at_most
    if one.above is not None:
        yield value > one.above
    if one.below is not None:
        yield value < one.below


def _range(one: Setting) -> str:
    """The bounds in words: "be at least 1", or "lie in (0, 1]"."""
    low = one.at_least if one.at_least is not None else one.above
    high = one.at_most if one.at_most is not None else one.below
    if high is None:
        return f"be {'at least' if one.at_least is not None else 'above'} {low}"
    if low is None:
        return f"be {'at most' if one.at_most is not None else 'below'} {high}"
    return f"lie in {'(' if one.above is not None else '['}{low}, {high}{')' if one.below is not None else ']'}"
