"""Several victims at once: in processes with a share of the cores each, or by actors on a Ray cluster.

The networks of `quick` are so small that two victims, each on one core, finish sooner than one after the other on two.
A process that finds no victim left gives its cores to the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from ..cores import allowed
from ..engine import Runtime
from ..measuring.cost import network
from ..noise.views import make_view
from ..progress import Event, silent
from ..workers import WorkerOptions, pool_for
from .cluster import on_cluster
from .dataset import VictimDataset
from .grid import VictimTask, phase, train_in_turn, with_data
from .results import VictimOutcome, outcome_from_json
from .trainer import VictimTrainer
from .victim_work import VictimOrder, VictimWork, train_each

WORTH = 5e12  # operations that are worth the start of processes: some ten seconds


def train_in_parallel(
    dataset: VictimDataset, trainer: VictimTrainer, wanted: Sequence[VictimTask], options: WorkerOptions
) -> dict[VictimTask, VictimOutcome]:
    """The outcome of each victim, as `train_in_turn` gives them; as many at once as `train_all` says.

    Raises as `train_all`.
    """
    if options.engine == "local" and at_once(options, len(wanted), dataset.size, trainer) == 1:
        return train_in_turn(dataset, trainer, wanted)
    works = list(works_of(dataset, trainer, wanted))
    return {work.task: outcome for work, outcome in train_all(works, trainer, options)}


def works_of(
    dataset: VictimDataset,
    trainer: VictimTrainer,
    wanted: Sequence[VictimTask],
    names: Sequence[str] = (),
    here: bool = False,
) -> Iterator[VictimWork]:
    """Victims on a dataset as pieces of work, for other processes or to be trained `here`. What their attackers learn
    before is learned here.
    """
    names = names or [phase(task, trainer.config) for task in wanted]
    images = dataset if here or dataset.place is None else dataset.place
    for (task, data), name in zip(with_data(dataset, trainer, wanted), names, strict=True):
        yield VictimWork(
            trainer.key(data, task.attacker, task.seed), task, name, trainer.config, images, dataset.digest,
            dataset.size, operations(dataset, trainer, [task]),
        )  # fmt: skip


def train_all(
    works: Sequence[VictimWork], trainer: VictimTrainer, options: WorkerOptions
) -> Iterator[tuple[VictimWork, VictimOutcome]]:
    """The outcome of each victim, as they are ready; `options.workers` at once, fewer where memory holds fewer.

    What they reach goes into the trainer's cache, which there must be. Raises `RunError` where workers die,
    `SettingError` for a machine that cannot take part, and what training raises.
    """
    cache = trainer.cache
    assert cache is not None
    waiting: dict[str, list[VictimWork]] = {}
    for work in works:
        if work.key in cache:
            yield work, outcome_from_json(cache[work.key])
        else:
            waiting.setdefault(work.key, []).append(work)
    if not waiting:
        return
    # Those that take longest come first, so that the last ones end together.
    missing = sorted((same[0] for same in waiting.values()), key=lambda work: -work.flop)
    count = trainer.progress if options.together else silent
    count(Event("victims", 0, len(missing), "victims"))
    order = VictimOrder(_elsewhere(trainer))
    if options.engine == "ray":
        found = on_cluster(order, missing, trainer, options)
    else:
        workers = at_once(options, len(missing), max(work.size for work in missing), trainer)
        found = pool_for(options, workers if workers > 1 else 0).run(train_each, order, missing, trainer.progress)
    for number, (key, outcome) in enumerate(found, 1):
        cache.put(key, outcome.to_json())
        yield from ((work, outcome) for work in waiting[key])
        count(Event("victims", number, len(missing), "victims"))


def suited_workers(dataset: VictimDataset, trainer: VictimTrainer, wanted: Sequence[VictimTask]) -> int:
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


def at_once(options: WorkerOptions, victims: int, size: int, trainer: VictimTrainer) -> int:
    """How many processes of this machine: each has a dataset of `size` bytes, and at times as much again."""
    most = max(1, Runtime(torch.device("cpu"), "float32").memory() // (4 * size))
    if most == 1 < min(options.workers or 1, victims):
        trainer.progress(Event("victims", message="memory holds one victim's images only: one is trained at a time"))
    return min(options.workers or 1, victims, most)


def _elsewhere(trainer: VictimTrainer) -> VictimTrainer:
    """The trainer as another process gets it. One process writes the cache: this one."""
    runtime = Runtime(trainer.runtime.device, trainer.runtime.precision, draws_together=trainer.runtime.draws_together)
    folder = trainer.folder.absolute() if trainer.folder else None
    return replace(trainer, runtime=runtime, progress=silent, cache=None, folder=folder)
