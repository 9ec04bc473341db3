"""An attacker, who trains on the shards: a network, its first weights, an adversary, a countermeasure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import SettingError
from ..settings import VerifyConfig, format_radius
from .countermeasures import BY_NAME

_STARTS = {"probe": "linear probe of given weights", "full": "fine-tuned from given weights"}


@dataclass(frozen=True)
class Attacker:
    """A way to train on a collection of which `fraction` is protected; `rho_a` in [0, 1], 0 for standard training.

    It trains for `longer` times the steps of its recipe and its countermeasure. Raises `SettingError` where its parts
    do not go together.
    """

    network: str
    rho_a: float
    countermeasure: str = "none"
    start: str = "scratch"  # scratch | probe | full
    fraction: float = 1.0
    longer: int = 1

    def __post_init__(self) -> None:
        if problem := unsuited(self.countermeasure, self.rho_a, self.start):
            raise SettingError(problem)

    @property
    def name(self) -> str:
        """Words that are different for every attacker."""
        parts = [self.network]
        if self.start != "scratch":
            parts.append(_STARTS[self.start])
        if self.countermeasure != "none":
            parts.append(BY_NAME[self.countermeasure].label)
        parts.append(f"adversarial training at {format_radius(self.rho_a)}" if self.rho_a else "standard training")
        if self.fraction < 1:
            parts.append(f"{100 * self.fraction:.4g}% protected")
        if self.times > 1:
            parts.append(f"{self.times} times the steps")
        return ", ".join(parts)

    @property
    def times(self) -> int:
        """Its training steps over those of its recipe."""
        return self.longer * BY_NAME[self.countermeasure].longer

    @property
    def unlabelled(self) -> bool:
        """Whether it learns features without labels, from two views of each image."""
        return BY_NAME[self.countermeasure].unlabelled

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network, "start": self.start, "rho_a": format_radius(self.rho_a),
            "countermeasure": self.countermeasure, "protected_fraction": self.fraction,
            "longer": self.longer,
        }  # fmt: skip


def attackers(config: VerifyConfig) -> Iterator[Attacker]:
    """Every attacker of a config: all combinations of its lists that go together, with the pairs of its set only."""
    axes = config.victim, config.start, config.countermeasure, config.protected_fraction, config.rho_a
    tried = set(config.pairs)
    for network, start, countermeasure, fraction, rho_a in itertools.product(*axes):
        if (countermeasure, rho_a) in tried and not unsuited(countermeasure, rho_a, start):
            yield Attacker(network, rho_a, countermeasure, start, fraction)


def unsuited(countermeasure: str, rho_a: float, start: str) -> str:
    """Why there is no such attacker, in words; empty where there is."""
    if not BY_NAME[countermeasure].unlabelled:
        return ""
    if rho_a:
        return f"{countermeasure} trains without the labels that an adversary needs; it goes with radius 0 only"
    if start == "probe":
        return f"{countermeasure} trains the features that a probe leaves as they are; start it from scratch or full"
    return ""
