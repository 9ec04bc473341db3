"""Pairs that an attacker makes with this very tool: images of his own, protected as the collection was.

The manifest gives away every setting but the seed, so he takes another one, and trains a surrogate on his own images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Runtime, deterministic
from ..noise import (
    NamedNetwork,
    SurrogateTraining,
    add,
    initial_noise,
    networks_of,
    new_surrogate,
    pool_labels,
    pool_numbers,
)
from ..noise.methods import HELD_OUT, make_noise
from ..noise.views import make_view
from ..settings import ProtectConfig
from .data import LabelledImages

Report = Callable[[int, Tensor], None]  # steps done, loss


@dataclass(frozen=True)
class _TrainingImages:
    """What the surrogate learns from."""

    own: LabelledImages

    def __len__(self) -> int:
        return len(self.own.labels)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, None]:
        return self.own.images[numbers], self.own.labels[numbers], None


def _train(runtime: Runtime, own: LabelledImages, network: NamedNetwork, size: tuple[int, int], report: Report) -> None:
    """Train one network of a surrogate."""
    known, config = own, network.config
    if config.pool:
        known = own[pool_numbers(len(own.labels), config)]
        known = replace(known, labels=pool_labels(known.labels, config))
    persistent = initial_noise(config, len(known.labels), size, runtime)
    training = SurrogateTraining.of(runtime, network.model, make_view(config, size)[0], config, persistent)
    training.run(_TrainingImages(known), after_step=report)


def protect_own(
    runtime: Runtime, own: LabelledImages, protection: ProtectConfig, classes: int, seed: int, report: Report
) -> Tensor:
    """The protected form of uint8 images (N, 3, H, W), by the settings of `protection` and another seed.

    What --format jpeg changes after that is not imitated. Raises `SettingError` where the images do not suit the
    method.
    """
    config, images = replace(protection, seed=seed), own.images
    size, model = (images.shape[2], images.shape[3]), None
    if config.has_surrogate:
        model = new_surrogate(config, classes, size, runtime)
        for network in networks_of(model, config):
            _train(runtime, own, network, size, report)
    at_once = min(config.craft_batch, max(1, len(images) // 2))  # ntga tests a block on what is outside it

    def others(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        outside = torch.from_numpy(np.setdiff1d(np.arange(len(images)), numbers)[:HELD_OUT])
        return images[outside], own.labels[outside]

    noise = make_noise(runtime, config, classes, size, model=model, held_out=others)
    protected = []
    with deterministic():
        for first in range(0, len(images), at_once):
            some = own[first : first + at_once]
            numbers = np.arange(first, first + len(some.labels))
            protected.append(add(some.images, noise(some.images, some.labels, numbers, 0, first)))
    return torch.cat(protected)
