"""Victims on a Ray cluster: who may take part, and what every machine has to see.

Shards, ledger and originals are read by every node, under the same paths. A node that sees the folder of the report,
too, saves the victim in training there, so that another one goes on with it when it is lost; elsewhere it begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..atomic import remove_leftovers
from ..engine import make_runtime
from ..errors import SettingError
from ..measuring.machine import KINDS, kind_of_machine
from ..progress import remarks
from ..workers import SameFolder, WorkerOptions, pool_for
from ..workers.admission import Admission, Hello, Nonce, nonce_in, versions
from .dataset import VictimDataset
from .results import VictimOutcome
from .trainer import VictimTrainer
from .victim_work import VictimOrder, VictimWork, train_each

PATIENCE = 1800.0  # seconds without a sign of life: a long test says nothing while it goes on


def on_cluster(
    order: VictimOrder, works: Sequence[VictimWork], trainer: VictimTrainer, options: WorkerOptions
) -> Iterator[tuple[str, VictimOutcome]]:
    """The outcomes of victims, by their keys, from actors. Raises as `RayPool`, and `SettingError` for images that only
    this process can read.
    """
    if any(isinstance(work.images, VictimDataset) for work in works):
        raise SettingError("the originals can be read by this process only; leave --engine ray out")
    with _nonce(trainer.folder) as nonce:
        entrance = Entrance(SameFolder.here(), nonce, trainer.runtime.device.type, trainer.runtime.precision)
        pool = pool_for(
            options, len(works), gpus=options.gpus(entrance.device == "cuda"), enter=entrance,
            admit=Admission(entrance.describe(), {}, KINDS).check, remark=remarks(trainer.progress, "victims"),
            least_patience=PATIENCE, queued=1, repeats=False,
        )  # fmt: skip
        yield from pool.run(train_each, order, works, trainer.progress)


@contextmanager
def _nonce(folder: Path | None) -> Iterator[Nonce | None]:
    """What shows to others whether they see the folder, where there is one."""
    if folder is None:
        yield None
        return
    try:
        with nonce_in(folder) as nonce:
            yield nonce
    finally:
        remove_leftovers(folder)  # of workers that were killed


@dataclass(frozen=True)
class Entrance:
    """What a worker does first: it finds its device, and whether it sees the folder, and says what it is."""

    folder: SameFolder
    nonce: Nonce | None
    device: str  # its kind
    precision: str

    def __call__(self, order: VictimOrder) -> tuple[VictimOrder, Hello]:
        self.folder.enter()
        device = make_runtime(self.device, self.precision).device
        trainer = replace(order.trainer, runtime=replace(order.trainer.runtime, device=device))
        if not (self.nonce and self.nonce.is_seen()):
            trainer = replace(trainer, folder=None)
        return replace(order, trainer=trainer), self.describe()

    def describe(self) -> Hello:
        """Versions and kinds of this machine that figures depend on."""
        return {**versions(), **kind_of_machine(make_runtime(self.device, self.precision).device)}
