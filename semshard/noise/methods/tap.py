"""Targeted adversarial poisoning: noise that makes a network, trained on clean images, take each for the next class.

Fowl et al., NeurIPS 2021 ("Adversarial Examples Make Strong Poisons").
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .error_minimising import FromSurrogate


@dataclass(frozen=True)
class Tap(FromSurrogate):
    """Noise that lowers the loss at the label after the true one, (y + 1) mod `classes`."""

    classes: int

    def target(self, labels: Tensor) -> Tensor:
        return (labels + 1) % self.classes
