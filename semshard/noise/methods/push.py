"""Adversarial push: noise that takes what a robust network sees of its class out of an image.

The network is trained adversarially on clean images, so what it goes by are features that an adversary of that radius
cannot change; noise of twice the radius can. With a network that was trained without an adversary: Fowl et al., NeurIPS
2021 ("Adversarial Examples Make Strong Poisons"); with one, by its features: Wen et al., ICLR 2023 ("Is Adversarial
Training Really a Silver Bullet for Mitigating Data Poisoning?").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .error_minimising import FromSurrogate


@dataclass(frozen=True)
class Push(FromSurrogate):
    """Noise that raises the loss at the true label."""

    classes: int

    def target(self, labels: Tensor) -> Tensor:
        """Shares of −1 at the labels, float (N, `classes`): to lower the loss at them is to raise it at the labels."""
        return -F.one_hot(labels, self.classes).float()
