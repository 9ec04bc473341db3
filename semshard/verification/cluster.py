"""Victims on a Ray cluster: who may take part, and what every machine has to see.

Shards, ledger and originals are read by every node, under the same paths. A node that sees the folder of the report,
too, saves the victim in training there, so that another one goes on with it when it is lost; elsewhere it begins again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import remove_leftovers
from ..engine import make_runtime
from ..errors import SettingError
from ..measuring.machine import KINDS, kind_of_machine
from ..progress import remarks
from ..workers import SameFolder, WorkerOptions, pool_for
from ..workers.admission import Admission, Hello, nonce_at, versions
from .dataset import VictimDataset
from .trainer import VictimTrainer

if TYPE_CHECKING:
    from .parallel import VictimOrder, VictimWork

PATIENCE = 1800.0  # seconds without a sign of life: a long test says nothing while it goes on
NONCE = "nonce"  # a file in the folder of unfinished victims while actors work


def on_cluster(
    job: Any, order: VictimOrder, works: Sequence[VictimWork], trainer: VictimTrainer, options: WorkerOptions
) -> Iterator[Any]:
    """The results of a job, by actors. Raises as `RayPool`, and `SettingError` for images that only this process can
    read.
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
        yield from pool.run(job, order, works, trainer.progress)


@contextmanager
def _nonce(folder: Path | None) -> Iterator[tuple[Path, str] | None]:
    """A file in a folder that shows to others that they see the same one, and what it says."""
    if folder is None:
        yield None
        return
    path = folder.absolute() / NONCE
    try:
        with nonce_at(path) as text:
            yield path, text
    finally:
        remove_leftovers(path.parent)  # of workers that were killed


@dataclass(frozen=True)
class Entrance:
    """What a worker does first: it finds its device, and whether it sees the folder, and says what it is."""

    folder: SameFolder
    nonce: tuple[Path, str] | None
    device: str  # its kind
    precision: str

    def __call__(self, order: VictimOrder) -> tuple[VictimOrder, Hello]:
        self.folder.enter()
        device = make_runtime(self.device, self.precision).device
        trainer = replace(order.trainer, runtime=replace(order.trainer.runtime, device=device))
        if not self._sees():
            trainer = replace(trainer, folder=None)
        return replace(order, trainer=trainer), self.describe()

    def describe(self) -> Hello:
        """Versions and kinds of this machine that figures depend on."""
        return {**versions(), **kind_of_machine(make_runtime(self.device, self.precision).device)}

    def _sees(self) -> bool:
        try:
            return self.nonce is not None and self.nonce[0].read_text() == self.nonce[1]
        except OSError:
            return False
