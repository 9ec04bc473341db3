"""A victim as a piece of work for another process, and what that process does with it.

No pixels are handed on: a worker knows where the shards and their originals are, reads them, and holds the key of the
victim, which contains a digest of every pixel, against that of the driver. Only pictures that no other process can open
travel themselves, between processes of one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..errors import RunError
from ..settings import VerifyConfig
from ..workers import Report
from .dataset import DatasetPlace, VictimDataset
from .grid import PreparedData, VictimTask
from .load import open_dataset
from .results import VictimOutcome
from .trainer import VictimTrainer


@dataclass(frozen=True, eq=False)
class VictimWork:
    """A victim to train, and what a worker needs to know of it."""

    key: str  # in the cache
    task: VictimTask
    phase: str  # what its training is called
    config: VerifyConfig
    images: DatasetPlace | VictimDataset
    digest: str  # of the dataset
    size: int  # bytes of it
    flop: float  # of the training

    def __str__(self) -> str:
        return self.phase


class OpenedImages:
    """The dataset that a worker had last. It is opened once for all victims that are trained on it one after the other;
    nothing of it travels.
    """

    def __init__(self) -> None:
        self._last: tuple[str, VictimDataset] | None = None

    def __reduce__(self) -> tuple[type[OpenedImages], tuple[()]]:
        return OpenedImages, ()

    def of(self, work: VictimWork) -> VictimDataset:
        """The images of a victim. Raises as `open_dataset`."""
        if self._last is None or self._last[0] != work.digest:
            self._last = None  # two of them may not fit into memory
            dataset = open_dataset(work.images) if isinstance(work.images, DatasetPlace) else work.images
            self._last = work.digest, dataset
        return self._last[1]


@dataclass(frozen=True)
class VictimOrder:
    """What is the same for all victims; a worker gets it once."""

    trainer: VictimTrainer
    opened: OpenedImages = field(default_factory=OpenedImages)


def train_each(order: VictimOrder, works: Iterable[VictimWork], report: Report) -> Iterator[tuple[str, VictimOutcome]]:
    """The job of a worker: the outcomes of victims, by their keys."""
    for work in works:
        trainer = replace(order.trainer, config=work.config, progress=report)
        data = PreparedData(order.opened.of(work), trainer)(work.task)
        if trainer.key(data, work.task.attacker, work.task.seed) != work.key:
            raise RunError(f"{work}: a worker reads other images than the driver, or has another version of torch")
        yield work.key, trainer.outcome(work.phase, data, work.task.attacker, work.task.seed)
