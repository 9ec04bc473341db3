"""Early stopping (the paper's Table 5): a training is looked at from time to time, and read as every rule would have.

One training serves all rules, because stopping changes nothing before the stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ValidationPoint:
    """A victim after `step` steps: test accuracy, and which validation images it names rightly, bool (V,), as they
    were published and as they were before.
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
    """What a rule would have kept: the network after `step` steps, with its test accuracy."""

    patience: int
    clean_share: float
    step: int
    test: float


def stops(looks: Sequence[ValidationPoint], patience: Sequence[int], clean_share: Sequence[float]) -> list[Stop]:
    """For every patience, in steps, and share of clean validation images: the network with the best validation accuracy
    when none better had come for that long.
    """
    return [_stop(looks, steps, share) for share in clean_share for steps in patience] if looks else []


def _stop(looks: Sequence[ValidationPoint], patience: int, clean_share: float) -> Stop:
    kept, best = looks[0], -1.0
    for look in looks:
        reached = look.validation(clean_share)
        if reached > best:
            kept, best = look, reached
        elif look.step - kept.step >= patience:
            break
    return Stop(patience, clean_share, kept.step, kept.test)
