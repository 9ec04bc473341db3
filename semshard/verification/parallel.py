"""Several victims at once, each in a process of its own with its share of the cores.

The networks of `quick` are so small that two victims on one core each are done before one after the other on both.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

import torch

from ..engine import Runtime
from ..progress import Event, silent
from .dataset import VictimDataset
from .grid import Cell, cells, trained
from .trainer import ResultCache, VictimTrainer


@dataclass(frozen=True)
class _Work:
    """All that a process needs; it travels there once."""

    split: VictimDataset
    examiner: VictimTrainer
    threads: int


_work: _Work | None = None  # of a process that trains


def train_in_parallel(split: VictimDataset, examiner: VictimTrainer, kept: ResultCache, jobs: int) -> None:
    """Train what `kept` lacks of the grid, `jobs` victims at once, fewer where memory does not hold as many."""
    wanted: dict[str, Cell] = {}
    for (attacker, data, seed), material in cells(split, examiner.config):
        key = examiner.key(material, attacker, seed)
        if key not in kept:
            wanted.setdefault(key, (attacker, data, seed))
    jobs = min(jobs, len(wanted), _fit(split, examiner))
    if jobs < 2:
        return
    runtime = Runtime(examiner.runtime.device, examiner.runtime.precision, fold=examiner.runtime.fold)
    work = _Work(split, replace(examiner, runtime=runtime, progress=silent), torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (work,)) as pool:
        futures = {pool.submit(_train, cell): key for key, cell in wanted.items()}
        examiner.progress(Event("victims", 0, len(futures), "victims"))
        try:
            for number, future in enumerate(as_completed(futures), 1):
                kept.get(futures[future], future.result)
                examiner.progress(Event("victims", number, len(futures), "victims"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fit(split: VictimDataset, examiner: VictimTrainer) -> int:
    """How many processes the memory holds: each has the split, and at times as much again."""
    size = split.clean.nbytes + split.protected.nbytes
    most = max(1, Runtime(torch.device("cpu"), "float32").memory() // (4 * size))
    if most == 1:
        examiner.progress(Event("victims", message="memory holds one victim's images only: one is trained at a time"))
    return most


def _begin(work: _Work) -> None:
    global _work
    _work = work
    torch.set_num_threads(max(1, work.threads))


def _train(cell: Cell) -> dict[str, object]:
    assert _work
    wanted, (attacker, data, seed) = _work.examiner.config, cell
    config = replace(
        wanted, victim=(attacker.network,), rho_a=(attacker.rho_a,), countermeasure=(attacker.countermeasure,),
        start=(attacker.start,), protected_fraction=(attacker.fraction,),
    )  # fmt: skip
    material = next(material for of, material in cells(_work.split, config) if of == cell)
    return trained(_work.examiner, f"{data}: {attacker.name}", material, attacker, seed)
