"""Several victims at once, each in a process of its own with its share of the cores.

The networks of `quick` are so small that two victims, each on one core, finish sooner than one after the other on two.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

import torch

from ..cores import allowed, set_cores
from ..engine import Runtime
from ..progress import Event, silent
from .dataset import VictimDataset
from .grid import VictimTask, tasks
from .results import VictimOutcome
from .trainer import VictimTrainer


@dataclass(frozen=True)
class _Work:
    """All that a process needs; it is sent there once."""

    dataset: VictimDataset
    trainer: VictimTrainer
    cores: int


_work: _Work | None = None  # of a process that trains


def train_in_parallel(dataset: VictimDataset, trainer: VictimTrainer, jobs: int) -> None:
    """Fill the trainer's cache with the missing victims of the grid, `jobs` at once, fewer where memory holds fewer.

    Without a cache nothing is done: there is nowhere to put their outcomes.
    """
    cache = trainer.cache
    if cache is None:
        return
    missing: dict[str, VictimTask] = {}
    for task, data in tasks(dataset, trainer.config):
        key = trainer.key(data, task.attacker, task.seed)
        if key not in cache:
            missing.setdefault(key, task)
    jobs = min(jobs, len(missing), _fit(dataset, trainer))
    if jobs < 2:
        return
    runtime = Runtime(trainer.runtime.device, trainer.runtime.precision, draws_together=trainer.runtime.draws_together)
    there = replace(trainer, runtime=runtime, progress=silent, cache=None)  # one process writes the cache: this one
    work = _Work(dataset, there, allowed() // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (work,)) as pool:
        futures = {pool.submit(_train, task): key for key, task in missing.items()}
        trainer.progress(Event("victims", 0, len(futures), "victims"))
        try:
            for number, future in enumerate(as_completed(futures), 1):
                cache.put(futures[future], future.result().to_json())
                trainer.progress(Event("victims", number, len(futures), "victims"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fit(dataset: VictimDataset, trainer: VictimTrainer) -> int:
    """How many processes the memory holds: each has the dataset, and at times as much again."""
    size = dataset.clean.nbytes + dataset.protected.nbytes
    most = max(1, Runtime(torch.device("cpu"), "float32").memory() // (4 * size))
    if most == 1:
        trainer.progress(Event("victims", message="memory holds one victim's images only: one is trained at a time"))
    return most


def _begin(work: _Work) -> None:
    global _work
    _work = work
    set_cores(max(1, work.cores))


def _train(task: VictimTask) -> VictimOutcome:
    assert _work
    attacker, kind, seed = task
    config = replace(
        _work.trainer.config, victim=(attacker.network,), rho_a=(attacker.rho_a,),
        countermeasure=(attacker.countermeasure,), start=(attacker.start,), protected_fraction=(attacker.fraction,),
    )  # fmt: skip
    data = next(data for each, data in tasks(_work.dataset, config) if each == task)
    return _work.trainer.outcome(f"{kind}: {attacker.name}", data, attacker, seed)
