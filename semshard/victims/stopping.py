"""Early stopping (the paper's Table 5): a training is validated from time to time, and every rule picks its stop.

One training serves all rules, because a rule changes nothing before it stops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ValidationPoint:
    """A victim after `step` steps: test accuracy, and which validation images it classifies correctly, bool (V,): the
    published ones, and their clean originals.
    """

    step: int
    test: float
    published: Tensor
    clean: Tensor

    def validation(self, clean_share: float) -> float:
        """Accuracy on a validation set whose first `clean_share` are clean."""
        clean = round(clean_share * len(self.clean))
        return (int(self.clean[:clean].sum()) + int(self.published[clean:].sum())) / len(self.clean)


@dataclass(frozen=True)
class Stop:
    """What a rule keeps: the network after `step` steps, with its test accuracy."""

    patience: int
    clean_share: float
    step: int
    test: float


def stops(points: Sequence[ValidationPoint], patience: Sequence[int], clean_share: Sequence[float]) -> list[Stop]:
    """For every patience, in steps, and share of clean validation images: the network with the best validation accuracy
    at the first time that it has not improved for that long.
    """
    return [_stop(points, steps, share) for share in clean_share for steps in patience] if points else []


def _stop(points: Sequence[ValidationPoint], patience: int, clean_share: float) -> Stop:
    best, best_accuracy = points[0], -1.0
    for point in points:
        accuracy = point.validation(clean_share)
        if accuracy > best_accuracy:
            best, best_accuracy = point, accuracy
        elif point.step - best.step >= patience:
            break
    return Stop(patience, clean_share, best.step, best.test)
