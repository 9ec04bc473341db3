"""The countermeasures in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .victims import BY_NAME


@dataclass(frozen=True)
class CountermeasureInfo:
    """What attackers do against the noise: a name for --countermeasure, a line, where it comes from, and when."""

    name: str
    line: str
    paper: str
    when: str  # it is applied: once, at every step, or to the training itself

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def countermeasures() -> list[CountermeasureInfo]:
    """Every countermeasure that `verify` knows."""

    def when(name: str) -> str:
        if BY_NAME[name].filter:
            return "once, on training and test images"
        if BY_NAME[name].augment:
            return "every training step"
        return "the training itself" if name != "none" else ""

    return [CountermeasureInfo(each.name, each.line, each.paper, when(each.name)) for each in BY_NAME.values()]
