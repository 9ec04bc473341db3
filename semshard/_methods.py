"""The methods in words, with what each costs beside SEM."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .noise.methods import METHODS, cost
from .presets import protect_config

IMAGES, SIZE = 50_000, (32, 32)  # of CIFAR-10, which the costs are counted for


@dataclass(frozen=True)
class MethodInfo:
    """A method of protection: a name for --method, and what is to be known before choosing it."""

    name: str
    line: str
    paper: str
    survives: str  # what the SEM paper found on CIFAR-10: accuracy of victims, adversarially trained or not
    cost: float | None  # passes through the network over those of SEM; None where there is no network

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def methods(preset: str = "paper") -> list[MethodInfo]:
    """Every method, its cost counted with the settings of `preset` for the 50,000 training images of CIFAR-10.

    Raises `SettingError` for an unknown preset.
    """

    def passes(name: str) -> float | None:
        found = cost(protect_config(preset, SIZE, "float32", {"method": name}))
        return found.training + IMAGES * found.crafting if found else None

    sem = passes("sem")
    assert sem
    rows = [(method, passes(method.name)) for method in METHODS]
    return [
        MethodInfo(method.name, method.line, method.paper, method.survives, count and round(count / sem, 3))
        for method, count in rows
    ]
