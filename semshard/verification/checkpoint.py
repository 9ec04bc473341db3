"""A victim's unfinished training on disk."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..engine.checkpoint import Checkpoint
from ..engine.weights import bfloat16_where_exact, load_tensors, save_tensors
from ..errors import LedgerError
from ..victims import Point, TrainingState, ValidationPoint

_LOOKS = ("published", "clean")


@dataclass
class VictimCheckpoint:
    """The file in which the training with fingerprint `key` waits to go on."""

    path: Path
    key: str
    before: float = 0.0  # seconds that the training took in earlier calls
    _start: float = field(default_factory=time.monotonic)

    def load(self) -> TrainingState:
        """Where the training stands; at its beginning where nothing is kept of it, or by another program."""
        try:
            tensors, about = load_tensors(self.path)
        except LedgerError:
            return TrainingState()
        if about.get("key") != self.key:
            return TrainingState()
        self.before = about["seconds"]
        looks = [
            ValidationPoint(step, test, *(tensors.pop(f"look.{number}.{name}") for name in _LOOKS))
            for number, (step, test) in enumerate(about["looks"])
        ]
        curve = tuple(Point(**point) for point in about["curve"])
        return TrainingState(Checkpoint(about["step"], tensors), curve, tuple(looks))

    @property
    def seconds(self) -> float:
        """What the training took up to now."""
        return self.before + time.monotonic() - self._start

    def save(self, found: TrainingState) -> None:
        """Keep where the training stands."""
        seen = {
            f"look.{number}.{name}": getattr(look, name) for number, look in enumerate(found.looks) for name in _LOOKS
        }
        about = {
            "key": self.key, "step": found.checkpoint.step, "seconds": round(self.seconds, 1),
            "curve": [asdict(point) for point in found.curve],
            "looks": [(look.step, look.test) for look in found.looks],
        }  # fmt: skip
        save_tensors(self.path, bfloat16_where_exact(found.checkpoint.tensors) | seen, about)

    def finished(self) -> None:
        """Nothing of it waits any more."""
        self.path.unlink(missing_ok=True)
