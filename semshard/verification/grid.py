"""The grid of a verification: every attacker, on every form of the collection, for every seed, each trained once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..settings import VerifyConfig
from ..victims import Attacker, VictimData, attackers
from .dataset import VictimDataset
from .learnt import Learnt
from .results import KINDS, PROTECTED, REST, VictimOutcome, VictimResult
from .trainer import VictimTrainer


class VictimTask(NamedTuple):
    """A victim to train: by whom, on which kind of data, with which seed."""

    attacker: Attacker
    kind: str  # clean | protected | control | rest
    seed: int


def train_in_turn(
    dataset: VictimDataset, trainer: VictimTrainer, wanted: Iterable[VictimTask]
) -> dict[VictimTask, VictimOutcome]:
    """The outcome of each victim, one after the other. What is cached is not trained again."""
    return {
        task: trainer.outcome(phase(task, trainer.config), data, task.attacker, task.seed)
        for task, data in with_data(dataset, trainer, wanted)
    }


def in_order(outcomes: Mapping[VictimTask, VictimOutcome], config: VerifyConfig) -> list[VictimResult]:
    """The results of a grid: by attacker, then by data, then by seed; attackers beyond the grid come last."""
    return [
        VictimResult(**vars(outcomes[task]), attacker=task.attacker, data=task.kind, seed=task.seed)
        for task in sorted(outcomes, key=_order(config))
    ]


def phase(task: VictimTask, config: VerifyConfig) -> str:
    """What the training of a victim is called while it goes on."""
    return f"{task.kind}: {task.attacker.name}" + (f", seed {task.seed}" if config.seeds > 1 else "")


def first_round(config: VerifyConfig) -> Iterator[VictimTask]:
    """The victims of every attacker: on all forms of the collection, or on the shards alone where only the strongest is
    compared, who is not known yet.
    """
    yield from grid(config, kinds=None if config.compares_all else (PROTECTED,))


def grid(config: VerifyConfig, of: Sequence[Attacker] = (), kinds: Sequence[str] | None = None) -> Iterator[VictimTask]:
    """Every victim of the grid, or of those attackers or kinds of data; those in a row that train on the same
    pictures.
    """
    for attacker, kind in _attackers_and_kinds(config, list(of) or list(attackers(config)), kinds):
        for seed in range(config.seed, config.seed + config.seeds):
            yield VictimTask(attacker, kind, seed)


def with_data(
    dataset: VictimDataset, trainer: VictimTrainer, wanted: Iterable[VictimTask]
) -> Iterator[tuple[VictimTask, VictimData]]:
    """Each victim with its data."""
    prepared = PreparedData(dataset, trainer)
    for task in wanted:
        yield task, prepared(task)


class PreparedData:
    """What victims train and are tested on; the pictures of the last one are kept, for the next may train on them.

    What attackers learn before that is learned here, in the place and by the recipe of `trainer`.
    """

    def __init__(self, dataset: VictimDataset, trainer: VictimTrainer) -> None:
        self._dataset, self._learnt = dataset, Learnt(trainer)
        self._last: tuple[Any, VictimData] | None = None

    def __call__(self, task: VictimTask) -> VictimData:
        attacker, kind, _ = task
        pictures = (attacker.countermeasure, kind, attacker.fraction if kind != "clean" else 1.0)
        if self._last is None or self._last[0] != pictures:
            self._last = None  # two of them may not fit into memory
            self._last = pictures, self._learnt(_data(self._dataset, attacker, kind), attacker.countermeasure)
        return self._last[1]


def of_strongest(config: VerifyConfig, strongest: Attacker) -> Iterator[Attacker]:
    """The attackers that are trained on all forms of the collection once the strongest one is known."""
    if not config.compares_all:
        yield strongest
    if config.longer > 1:
        yield replace(strongest, longer=config.longer)


def kinds_of(attacker: Attacker) -> tuple[str, ...]:
    """What an attacker trains on to be compared."""
    return (*KINDS, REST) if attacker.fraction < 1 else KINDS


def _attackers_and_kinds(
    config: VerifyConfig, ordered: list[Attacker], kinds: Sequence[str] | None
) -> Iterator[tuple[Attacker, str]]:
    """Every attacker with every kind of data, or with those; those in a row that train on the same pictures."""
    ordered.sort(key=lambda attacker: config.countermeasure.index(attacker.countermeasure))
    groups = dict.fromkeys((attacker.countermeasure, attacker.fraction) for attacker in ordered)
    for countermeasure, fraction in groups:
        group = [a for a in ordered if (a.countermeasure, a.fraction) == (countermeasure, fraction)]
        for kind in kinds or kinds_of(group[0]):
            yield from ((attacker, kind) for attacker in group)


def _order(config: VerifyConfig) -> Callable[[VictimTask], tuple[int, int, int]]:
    """A sort key: the order of the attackers in the grid, then of their data, then of the seeds."""
    place = {attacker: number for number, attacker in enumerate(attackers(config))}
    return lambda task: (place.get(task.attacker, len(place)), (*KINDS, REST).index(task.kind), task.seed)


def _data(dataset: VictimDataset, attacker: Attacker, kind: str) -> VictimData:
    fraction = 1.0 if kind == "clean" else attacker.fraction
    pixels = "clean" if kind == REST else kind
    return dataset.data(pixels, attacker.countermeasure, fraction, rest=kind == REST)
