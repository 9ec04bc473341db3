"""Several victims at once, each in a process of its own with its share of the cores.

The networks of `quick` are so small that two victims, each on one core, finish sooner than one after the other on two.
A process that finds no victim left gives its cores to the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from ..cores import allowed
from ..engine import Runtime
from ..measuring.cost import network
from ..noise.views import make_view
from ..progress import Event, silent
from ..workers import LocalPool, Report
from .dataset import VictimDataset
from .grid import PreparedData, VictimTask, phase, train_in_turn, with_data
from .results import VictimOutcome, outcome_from_json
from .trainer import VictimTrainer

WORTH = 5e12  # operations that are worth the start of processes: some ten seconds


@dataclass(frozen=True)
class _Order:
    """All that a process needs; it is sent there once."""

    dataset: VictimDataset
    trainer: VictimTrainer


@dataclass(frozen=True)
class _Missing:
    """A victim to train, and its key in the cache."""

    key: str
    task: VictimTask

    def __str__(self) -> str:
        return f"{self.task.kind}: {self.task.attacker.name}"


def train_in_parallel(
    dataset: VictimDataset, trainer: VictimTrainer, wanted: Sequence[VictimTask], jobs: int
) -> dict[VictimTask, VictimOutcome]:
    """The outcome of each victim, as `train_in_turn` gives them; `jobs` at once, fewer where memory holds fewer.

    What they reach goes into the trainer's cache, which there must be. Raises `RunError` where a process dies.
    """
    cache = trainer.cache
    assert cache is not None
    keys = {task: trainer.key(data, task.attacker, task.seed) for task, data in with_data(dataset, trainer, wanted)}
    missing: dict[str, VictimTask] = {}
    for task, key in keys.items():
        if key not in cache:
            missing.setdefault(key, task)
    jobs = min(jobs, len(missing), _fit(dataset, trainer))
    if jobs == 1:
        return train_in_turn(dataset, trainer, wanted)
    if missing:
        # Those that take longest come first, so that the last ones end together.
        works = [_Missing(key, task) for key, task in missing.items()]
        works.sort(key=lambda each: -operations(dataset, trainer, [each.task]))
        trainer.progress(Event("victims", 0, len(works), "victims"))
        found = LocalPool(jobs, allowed()).run(
            train_each, _Order(dataset, _elsewhere(trainer)), works, trainer.progress
        )
        for number, (key, outcome) in enumerate(found, 1):
            cache.put(key, outcome.to_json())
            trainer.progress(Event("victims", number, len(works), "victims"))
    return {task: outcome_from_json(cache[key]) for task, key in keys.items()}


def suited_jobs(dataset: VictimDataset, trainer: VictimTrainer, wanted: Sequence[VictimTask]) -> int:
    """On a CPU as many victims as there are cores, if they are worth the start of processes; on a GPU one."""
    if trainer.runtime.device.type != "cpu":
        return 1
    return allowed() if operations(dataset, trainer, wanted) > WORTH else 1


def operations(dataset: VictimDataset, trainer: VictimTrainer, wanted: Sequence[VictimTask]) -> float:
    """Floating-point operations of the trainings, tests left out."""
    config, precision, flop = trainer.config, trainer.runtime.precision, 0.0
    _, size = make_view(config, (dataset.clean.shape[1], dataset.clean.shape[2]))
    for attacker, _, _ in wanted:
        cost = network(attacker.network, trainer.classes, size, precision).victim(config, attacker.rho_a, 0, 0)
        flop += attacker.times * (2 if attacker.unlabelled else 1) * cost.flop
    return flop


def train_each(order: _Order, works: Iterable[_Missing], report: Report) -> Iterator[tuple[str, VictimOutcome]]:
    """The job of a process: the outcomes of victims, by their keys."""
    trainer = replace(order.trainer, progress=report)
    prepared = PreparedData(order.dataset, trainer)
    for key, task in ((work.key, work.task) for work in works):
        yield key, trainer.outcome(phase(task, trainer.config), prepared(task), task.attacker, task.seed)


def _elsewhere(trainer: VictimTrainer) -> VictimTrainer:
    """The trainer as another process gets it. One process writes the cache: this one."""
    runtime = Runtime(trainer.runtime.device, trainer.runtime.precision, draws_together=trainer.runtime.draws_together)
    return replace(trainer, runtime=runtime, progress=silent, cache=None)


def _fit(dataset: VictimDataset, trainer: VictimTrainer) -> int:
    """How many processes the memory holds: each has the dataset, and at times as much again."""
    size = dataset.clean.nbytes + dataset.protected.nbytes
    most = max(1, Runtime(torch.device("cpu"), "float32").memory() // (4 * size))
    if most == 1:
        trainer.progress(Event("victims", message="memory holds one victim's images only: one is trained at a time"))
    return most
