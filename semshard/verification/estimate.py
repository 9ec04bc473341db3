"""How long a verification would take: an estimate, from a few real steps of each kind of victim.

Which attacker is the strongest is known at the end only. For what is trained of it then, the slowest one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from ..cores import allowed, limited
from ..measuring.timing import medians
from ..progress import Event, duration
from ..settings import to_json
from ..victims import (
    BY_NAME,
    TEST_BATCH,
    TRAIN_SAMPLE,
    Attacker,
    LabelledImages,
    VictimData,
    VictimRecipe,
    attack_passes,
    trial,
)
from ..victims.simclr import FITTED, TIMED
from ..workers import WorkerOptions
from .dataset import VictimDataset
from .grid import VictimTask, first_round, kinds_of, of_strongest, with_data
from .inputs import VerifyInputs
from .parallel import WORTH, operations, suited_workers
from .trainer import VictimTrainer

_REPEATS = 2


@dataclass(frozen=True)
class PlannedAttacker:
    """An attacker, how many victims it trains, all of its seeds and forms of the collection, and seconds of each."""

    name: str
    victims: int
    seconds: float


@dataclass(frozen=True)
class VerifyPlan:
    """What a verification would train. All seconds are estimates.

    Of the last attacker, the strongest, it is not known yet which one it is: the slowest is taken.
    """

    attackers: list[PlannedAttacker]
    at_once: int  # victims trained at the same time
    seconds: float  # from the first training to the last
    settings: dict[str, Any]
    learning: tuple[str, ...]  # countermeasures that learn before their victims train; the time for that is not counted

    @property
    def victims(self) -> int:
        return sum(each.victims for each in self.attackers)

    @property
    def sentence(self) -> str:
        """How many victims, and how long they take."""
        times = sorted(each.seconds for each in self.attackers)
        least = f"{duration(times[0])} to " if times[0] < times[-1] else ""
        more = f"; what {' and '.join(self.learning)} must learn before is not counted" if self.learning else ""
        together = f", {self.at_once} at once" if self.at_once > 1 else ""
        return (
            f"{_count(self.victims)} to train, {least}{duration(times[-1])} each{together}: about "
            f"{duration(self.seconds)} in all, an estimate from a few measured steps{more}"
        )

    def to_json(self) -> dict[str, Any]:
        return {"victims": self.victims, **asdict(self)}


def plan_of(inputs: VerifyInputs, workers: WorkerOptions, tasks: Sequence[VictimTask] | None = None) -> VerifyPlan:
    """The plan of a verification, or of what of its first round is left, `tasks`; as if none of the rest were
    finished.
    """
    dataset, trainer = inputs.dataset, inputs.trainer
    config = trainer.config
    tasks = list(first_round(config)) if tasks is None else tasks
    at_once = workers.workers or suited_workers(dataset, trainer, tasks)
    clock = _VictimClock(dataset, trainer, at_once)
    first = [
        PlannedAttacker(each.name, sum(task.attacker == each for task in tasks), clock.seconds(each))
        for each in dict.fromkeys(task.attacker for task in tasks)
    ]
    slowest = max((task.attacker for task in first_round(config)), key=clock.seconds)
    later = [_later(each, config.seeds, clock) for each in of_strongest(config, slowest)]
    rounds = [[each.seconds for each in first for _ in range(each.victims)]]
    rounds += [[each.seconds] * each.victims for each in later]
    seconds = sum(_together(each, at_once) for each in rounds)
    names = dict.fromkeys(task.attacker.countermeasure for task in tasks)
    learning = tuple(name for name in names if BY_NAME[name].learns)
    return VerifyPlan([*first, *later], at_once, round(seconds, 1), to_json(config), learning)


def announce(inputs: VerifyInputs, workers: WorkerOptions) -> None:
    """Say before the first training how many victims there are and how long they take, about."""
    tasks, progress = _left(inputs), inputs.trainer.progress
    if not tasks:
        return
    if operations(inputs.dataset, inputs.trainer, tasks) < WORTH:
        line = f"{_count(len(tasks))} to train: about a minute at most, an estimate from the number of operations"
    else:
        line = plan_of(inputs, workers, tasks).sentence
    progress(Event("estimate", message=line))


def _count(victims: int) -> str:
    return f"{victims} victim{'s' if victims > 1 else ''}"


def _left(inputs: VerifyInputs) -> list[VictimTask]:
    """The victims of the first round that are not finished yet; those whose attackers learn first count as such."""
    trainer, tasks = inputs.trainer, list(first_round(inputs.trainer.config))
    if trainer.cache is None or trainer.cache.is_empty:
        return tasks
    learning = [task for task in tasks if BY_NAME[task.attacker.countermeasure].learns]
    others = (task for task in tasks if task not in learning)
    return learning + [
        task for task, data in with_data(inputs.dataset, trainer, others)
        if not trainer.is_cached(data, task.attacker, task.seed)
    ]  # fmt: skip


def _later(attacker: Attacker, seeds: int, clock: _VictimClock) -> PlannedAttacker:
    """What is trained of the strongest attacker once it is known. Its victims on the shards, at its usual length, are
    there already.
    """
    more = f", {attacker.longer} times the steps" if attacker.longer > 1 else ""
    kinds = len(kinds_of(attacker)) - (attacker.longer == 1)
    return PlannedAttacker(f"the strongest of these{more}", seeds * kinds, clock.seconds(attacker))


def _together(seconds: Iterable[float], at_once: int) -> float:
    """The time of so many victims at once: the longest first, each where one has ended."""
    ends = [0.0] * at_once
    for each in sorted(seconds, reverse=True):
        ends[ends.index(min(ends))] += each
    return max(ends)


class _VictimClock:
    """Measures how long a victim takes; each kind of step once, with as many cores as a victim has."""

    def __init__(self, dataset: VictimDataset, trainer: VictimTrainer, at_once: int) -> None:
        self._trainer = replace(trainer, runtime=replace(trainer.runtime, remark=lambda sentence: None))
        self._data, self._at_once = _some(dataset, trainer.config.batch), at_once
        trained = int(dataset.train.sum())
        tested = int(dataset.test.sum())
        self._tested, self._fitted = tested + min(TRAIN_SAMPLE, trained), min(FITTED, trained)
        self._attacked = attack_passes(trainer.config.steps_a, tested, trained)
        self._known: dict[tuple[Any, ...], dict[str, float]] = {}

    def seconds(self, attacker: Attacker) -> float:
        """The time of one victim of this attacker."""
        config, times = self._trainer.config, self._times(attacker)
        fitted = self._fitted if attacker.unlabelled else 0  # their features are taken, too
        passes = config.evaluations * (self._tested + fitted) + (self._attacked if attacker.rho_a else 0)
        tests = passes / len(self._data.test.labels)
        fits = config.evaluations * fitted / TIMED * times.get("fit", 0.0)
        return round(config.steps * attacker.times * times["step"] + tests * times["test"] + fits, 1)

    def _times(self, attacker: Attacker) -> dict[str, float]:
        changed = attacker.countermeasure if BY_NAME[attacker.countermeasure].changes_steps else "none"
        kind = attacker.network, attacker.start, changed, attacker.rho_a > 0
        if kind not in self._known:
            trainer, cores = self._trainer, max(1, allowed() // self._at_once)
            attacker = replace(attacker, countermeasure=changed)
            recipe = VictimRecipe(attacker, trainer.config, trainer.classes, 0, trainer.weights)
            on_cpu = trainer.runtime.device.type == "cpu"
            with limited(cores) if on_cpu else nullcontext():
                actions = trial(trainer.runtime, self._data, recipe)
                self._known[kind] = medians(actions, _REPEATS, trainer.runtime.device)
        return self._known[kind]


def _some(dataset: VictimDataset, batch: int) -> VictimData:
    """A batch to train on and one to test on, of the published images."""

    def chosen(mask: Any, most: int) -> LabelledImages:
        rows = np.flatnonzero(mask)[:most]
        planes = torch.from_numpy(dataset.protected[rows]).permute(0, 3, 1, 2).contiguous()
        sizes = None if dataset.sizes is None else torch.from_numpy(dataset.sizes[rows])
        return LabelledImages(planes, torch.from_numpy(dataset.labels[rows]), sizes)

    return VictimData(chosen(dataset.train, batch), chosen(dataset.test, TEST_BATCH))
