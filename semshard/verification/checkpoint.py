"""The unfinished training of a victim, on disk."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..engine import Checkpoint, bfloat16_where_exact, load_tensors, save_tensors
from ..errors import LedgerError
from ..victims import Point, TrainingState, ValidationPoint

_FORMS = ("published", "clean")  # of the validation images


@dataclass
class VictimCheckpoint:
    """The file from which the training with fingerprint `key` can be resumed."""

    path: Path
    key: str
    earlier_seconds: float = 0.0  # that the training took in earlier calls
    _start: float = field(default_factory=time.monotonic)

    def load(self) -> TrainingState:
        """The state to resume from; a new one where the file is missing, broken or of another training."""
        try:
            tensors, about = load_tensors(self.path)
        except LedgerError:
            return TrainingState()
        if about.get("key") != self.key:
            return TrainingState()
        self.earlier_seconds = about["seconds"]
        validation_points = [
            ValidationPoint(step, test, *(tensors.pop(f"validation.{number}.{form}") for form in _FORMS))
            for number, (step, test) in enumerate(about["validation"])
        ]
        curve = tuple(Point(**point) for point in about["curve"])
        correct = tuple(tensors.pop(f"correct.{number}") for number in range(len(curve)))
        return TrainingState(Checkpoint(about["step"], tensors), curve, correct, tuple(validation_points))

    @property
    def seconds(self) -> float:
        """What the training took up to now, in all calls."""
        return self.earlier_seconds + time.monotonic() - self._start

    def save(self, state: TrainingState) -> None:
        """Write the state of the training."""
        validation = {
            f"validation.{number}.{form}": getattr(point, form)
            for number, point in enumerate(state.validation_points)
            for form in _FORMS
        }
        correct = {f"correct.{number}": at for number, at in enumerate(state.correct)}
        about = {
            "key": self.key, "step": state.checkpoint.step, "seconds": round(self.seconds, 1),
            "curve": [asdict(point) for point in state.curve],
            "validation": [(point.step, point.test) for point in state.validation_points],
        }  # fmt: skip
        save_tensors(self.path, bfloat16_where_exact(state.checkpoint.tensors) | validation | correct, about)

    def finished(self) -> None:
        """Delete the file: the training is complete."""
        self.path.unlink(missing_ok=True)
