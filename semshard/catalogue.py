"""What there is to choose from, in words: methods of protection, families of views, countermeasures of attackers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .noise.methods import METHODS, added_methods, cost
from .plugins import Kind
from .settings import FAMILIES, FamilyInfo, protect_config
from .sources import added_kinds
from .victims import BY_NAME, Countermeasure, added_countermeasures

IMAGES, SIZE = 50_000, (32, 32)  # of CIFAR-10, which the costs are counted for


@dataclass(frozen=True)
class MethodInfo:
    """A method of protection: a name for --method, and what you should know before choosing it."""

    name: str
    line: str
    paper: str
    survives: str  # what the SEM paper found on CIFAR-10: accuracy of victims, adversarially trained or not
    cost: float | None  # passes through the network over those of SEM; None where there is no network

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def methods(preset: str = "paper") -> list[MethodInfo]:
    """Every method, those of other packages last. The cost is counted with the settings of `preset` for the 50,000
    training images of CIFAR-10.

    Raises `SettingError` for an unknown preset.
    """

    def passes(name: str) -> float | None:
        counted = cost(protect_config(preset, SIZE, "float32", {"method": name}))
        return counted.training + IMAGES * counted.crafting if counted else None

    sem = passes("sem")
    assert sem
    rows = [(method, passes(method.name)) for method in (*METHODS, *added_methods()[0])]
    return [
        MethodInfo(method.name, method.line, method.paper, method.survives, count and round(count / sem, 3))
        for method, count in rows
    ]


@dataclass(frozen=True)
class CountermeasureInfo:
    """What attackers do against the noise: a name for --countermeasure, a line, where it comes from, when, its cost."""

    name: str
    line: str
    paper: str
    when: str  # it is applied: once, at every step, or to the training itself
    cost: str  # beside the same training without it, in words

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def countermeasures() -> list[CountermeasureInfo]:
    """Every countermeasure that `verify` knows: the built-in ones, then those of other packages."""
    every = (*BY_NAME.values(), *added_countermeasures()[0])
    return [CountermeasureInfo(each.name, each.line, each.paper, _when(each), each.costs) for each in every]


def plugin_problems(kind: Kind) -> list[str]:
    """Why sources, methods or countermeasures that other packages offer cannot be used, a sentence each."""
    added = {"sources": added_kinds, "methods": added_methods, "countermeasures": added_countermeasures}
    return added[kind]()[1]


def _when(countermeasure: Countermeasure) -> str:
    """When it is applied."""
    if countermeasure.learns == "counter-noise":
        return "once, on training images, and every training step"
    if countermeasure.filter or countermeasure.learns:
        return "once, on training and test images"
    if countermeasure.augment:
        return "every training step"
    if countermeasure.own:
        return "after the training"
    return "the training itself" if countermeasure.name != "none" else ""


def views() -> list[FamilyInfo]:
    """Every family of views that --views knows."""
    return list(FAMILIES)
