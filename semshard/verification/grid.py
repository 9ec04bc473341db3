"""The grid of a verification: every attacker, on every form of the collection, for every seed, each trained once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..settings import VerifyConfig
from ..victims import Attacker, VictimData, attackers
from .dataset import VictimDataset
from .results import KINDS, REST, VictimResult
from .trainer import VictimTrainer


class VictimTask(NamedTuple):
    """A victim to train: by whom, on which kind of data, with which seed."""

    attacker: Attacker
    kind: str  # clean | protected | control | rest
    seed: int


def train_grid(dataset: VictimDataset, trainer: VictimTrainer) -> list[VictimResult]:
    """A result for every attacker of the trainer's config, every data and seed. What is cached is not trained again."""
    results: dict[VictimTask, VictimResult] = {}
    for task, data in tasks(dataset, trainer.config):
        attacker, kind, seed = task
        phase = f"{kind}: {attacker.name}" + (f", seed {seed}" if trainer.config.seeds > 1 else "")
        outcome = trainer.outcome(phase, data, attacker, seed)
        results[task] = VictimResult(**vars(outcome), attacker=attacker, data=kind, seed=seed)
    return [results[task] for task in sorted(results, key=_order(trainer.config))]


def tasks(dataset: VictimDataset, config: VerifyConfig) -> Iterator[tuple[VictimTask, VictimData]]:
    """Every victim of the grid with its data; those in a row that train on the same pictures."""
    last: tuple[Any, VictimData] | None = None
    for attacker, kind in _attackers_and_kinds(config):
        pictures = (attacker.countermeasure, kind, attacker.fraction if kind != "clean" else 1.0)
        if last is None or last[0] != pictures:
            last = None  # two of them may not fit into memory
            last = pictures, _data(dataset, attacker, kind)
        for seed in range(config.seed, config.seed + config.seeds):
            yield VictimTask(attacker, kind, seed), last[1]


def _attackers_and_kinds(config: VerifyConfig) -> Iterator[tuple[Attacker, str]]:
    """Every attacker with every kind of data; those in a row that train on the same pictures."""
    ordered = list(attackers(config))
    ordered.sort(key=lambda attacker: config.countermeasure.index(attacker.countermeasure))
    groups = dict.fromkeys((attacker.countermeasure, attacker.fraction) for attacker in ordered)
    for countermeasure, fraction in groups:
        group = [a for a in ordered if (a.countermeasure, a.fraction) == (countermeasure, fraction)]
        for kind in (*KINDS, REST) if fraction < 1 else KINDS:
            yield from ((attacker, kind) for attacker in group)


def _order(config: VerifyConfig) -> Callable[[VictimTask], tuple[int, int, int]]:
    """A sort key: the order of the attackers in the grid, then of their data, then of the seeds."""
    place = {attacker: number for number, attacker in enumerate(attackers(config))}
    return lambda task: (place[task.attacker], (*KINDS, REST).index(task.kind), task.seed)


def _data(dataset: VictimDataset, attacker: Attacker, kind: str) -> VictimData:
    fraction = 1.0 if kind == "clean" else attacker.fraction
    pixels = "clean" if kind == REST else kind
    return dataset.data(pixels, attacker.countermeasure, fraction, rest=kind == REST)
