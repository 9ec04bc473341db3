"""An attacker, who trains on the shards: a network, its first weights, an adversary, a countermeasure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..settings import VerifyConfig, format_radius
from .countermeasures import BY_NAME

_STARTS = {"probe": "linear probe of given weights", "full": "fine-tuned from given weights"}


@dataclass(frozen=True)
class Attacker:
    """A way to train on a collection of which `fraction` is protected; `rho_a` in [0, 1], 0 for standard training.

    It trains for `longer` times the steps of its recipe and its countermeasure.
    """

    network: str
    rho_a: float
    countermeasure: str = "none"
    start: str = "scratch"  # scratch | probe | full
    fraction: float = 1.0
    longer: int = 1

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

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.network, "start": self.start, "rho_a": format_radius(self.rho_a),
            "countermeasure": self.countermeasure, "protected_fraction": self.fraction,
            "longer": self.longer,
        }  # fmt: skip


def attackers(config: VerifyConfig) -> Iterator[Attacker]:
    """Every attacker of a config: all combinations of its lists, with the pairs of its set only."""
    axes = config.victim, config.start, config.countermeasure, config.protected_fraction, config.rho_a
    tried = set(config.pairs)
    for network, start, countermeasure, fraction, rho_a in itertools.product(*axes):
        if (countermeasure, rho_a) in tried:
            yield Attacker(network, rho_a, countermeasure, start, fraction)
