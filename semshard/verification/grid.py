"""The grid of a verification: every attacker, on every form of the collection, for every seed, each trained once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..settings import VerifyConfig
from ..victims import Attacker, Point, Victim, VictimData, attackers
from ..victims.stopping import Stop
from .dataset import VictimDataset
from .trainer import ResultCache, VictimTrainer

KINDS = ("clean", "protected", "control")
REST = "rest"  # the unprotected part of a collection alone

Cell = tuple[Attacker, str, int]  # who, on what data, with which seed


@dataclass(frozen=True)
class VictimResult:
    """One victim: what it was trained on, and how well it names clean images that it never saw. Shares in [0, 1]."""

    attacker: Attacker
    data: str  # clean | protected | control, and rest: the unprotected part alone
    seed: int
    final: float  # test accuracy after the last step; of early stopping, the best that one of its rules would have kept
    best: float  # highest test accuracy on the way; of early stopping, that of its best rule
    train: float  # accuracy on the images it was trained on, after the last step
    seconds: float
    curve: tuple[Point, ...]
    per_class: tuple[float | None, ...]  # test accuracy after the last step; None for a class without a test image
    stops: tuple[Stop, ...]

    def to_json(self) -> dict[str, Any]:
        return {"attacker": self.attacker.name, **self.attacker.to_json(), "data": self.data, **self.figures()}

    def figures(self) -> dict[str, Any]:
        """All but who and on what, as JSON values."""
        about = asdict(self)
        return {name: about[name] for name in about if name not in ("attacker", "data")}


def train_grid(split: VictimDataset, examiner: VictimTrainer, kept: ResultCache) -> list[VictimResult]:
    """A result for every attacker of the examiner's config, every data and seed. What is kept is not trained again."""
    results: dict[Cell, VictimResult] = {}
    for cell, material in cells(split, examiner.config):
        attacker, data, seed = cell
        phase = f"{data}: {attacker.name}" + (f", seed {seed}" if examiner.config.seeds > 1 else "")
        results[cell] = VictimResult(*cell, **victim_figures(examiner, kept, phase, material, attacker, seed))
    return [results[cell] for cell in sorted(results, key=_order(examiner.config))]


def cells(split: VictimDataset, config: VerifyConfig) -> Iterator[tuple[Cell, VictimData]]:
    """Every cell of the grid with what its victim learns from; those together that learn from the same pictures."""
    known: tuple[Any, VictimData] | None = None
    for attacker, data in _tasks(config):
        of = (attacker.countermeasure, data, attacker.fraction if data != "clean" else 1.0)
        if known is None or known[0] != of:
            known = None  # two of them may not fit into memory
            known = of, _material(split, attacker, data)
        for seed in range(config.seed, config.seed + config.seeds):
            yield (attacker, data, seed), known[1]


def _tasks(config: VerifyConfig) -> Iterator[tuple[Attacker, str]]:
    every = list(attackers(config))
    every.sort(key=lambda attacker: config.countermeasure.index(attacker.countermeasure))
    groups = dict.fromkeys((attacker.countermeasure, attacker.fraction) for attacker in every)
    for countermeasure, fraction in groups:
        of_group = [a for a in every if (a.countermeasure, a.fraction) == (countermeasure, fraction)]
        for data in (*KINDS, REST) if fraction < 1 else KINDS:
            yield from ((attacker, data) for attacker in of_group)


def _order(config: VerifyConfig) -> Callable[[Cell], tuple[int, int, int]]:
    """In the order of the grid, and of an attacker's data and seeds."""
    place = {attacker: number for number, attacker in enumerate(attackers(config))}
    return lambda cell: (place[cell[0]], (*KINDS, REST).index(cell[1]), cell[2])


def _material(split: VictimDataset, attacker: Attacker, data: str) -> VictimData:
    fraction = 1.0 if data == "clean" else attacker.fraction
    kind = "clean" if data == REST else data
    return split.material(kind, attacker.countermeasure, fraction, rest=data == REST)


def victim_figures(
    examiner: VictimTrainer,
    kept: ResultCache,
    phase: str,
    material: VictimData,
    attacker: Attacker,
    seed: int,
) -> dict[str, Any]:
    """The figures of a `VictimResult`; the victim is trained where they are not kept."""

    def made() -> dict[str, Any]:
        return trained(examiner, phase, material, attacker, seed)

    found = dict(kept.get(examiner.key(material, attacker, seed), made))
    found["curve"] = tuple(Point(**point) for point in found["curve"])
    found["stops"] = tuple(Stop(**stop) for stop in found["stops"])
    found["per_class"] = tuple(found["per_class"])
    return found


def trained(examiner: VictimTrainer, phase: str, material: VictimData, attacker: Attacker, seed: int) -> dict[str, Any]:
    """A new victim's figures, as JSON values."""
    victim, seconds = examiner.train(phase, material, attacker, seed)
    return _as_json(victim, material, examiner.classes) | {"seconds": seconds}


def _as_json(victim: Victim, material: VictimData, classes: int) -> dict[str, Any]:
    right, labels = victim.right.numpy(), material.test.labels.numpy()
    shares = [right[labels == number].mean() if (labels == number).any() else None for number in range(classes)]
    return {
        "final": victim.final,
        "best": victim.best,
        "train": victim.train,
        "curve": [asdict(point) for point in victim.curve],
        "stops": [asdict(stop) for stop in victim.stops],
        "per_class": [None if share is None else round(float(share), 4) for share in shares],
    }
