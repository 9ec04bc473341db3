"""Counter-noise: a two-layer network is trained adversarially on the shards, and noise that raises its loss is added to
them, before a victim trains on them with strong augmentation.

Zhu, Yu and Gao, AAAI 2024 (Algorithm 3, SDA+AN; their code at github.com/hala64/udp): a shortcut is so simple that such
a network reads it, so its adversary writes over the shortcut and hardly touches what a deep network learns from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime, TrainableNetwork, batch_numbers, deterministic, sgd
from ..models import seeded
from ..noise import InnerPerturbation, ModelStep, add, to_levels
from ..noise.views import Whole
from ..settings import VerifyConfig
from .data import LabelledImages

HIDDEN = 256  # units
LR = 0.05  # its authors take 0.01, for 39,000 steps; with a victim's few hundred that learns no shortcut
RHO = 8 / 255
ADVERSARY = InnerPerturbation(RHO, 2 / 255, 10)
APPLIED = 512  # images that noise is made for at once

Report = Callable[[int, Tensor], None]  # steps done, loss


class TwoLayers(nn.Module):
    """Float images (N, 3, H, W) in [0, 1] to class scores (N, classes)."""

    def __init__(self, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(3 * height * width, HIDDEN)
        self.second = nn.Linear(HIDDEN, classes)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.second(F.relu(self.first((images - 0.5).flatten(1)))))


def new_network(images: Tensor, classes: int, seed: int, runtime: Runtime) -> nn.Module:
    """An untrained network for images of that shape, on the device, its weights drawn from `seed` alone."""
    with seeded(seed):
        return runtime.place(TwoLayers(classes, images.shape[2], images.shape[3]))


def train_network(
    runtime: Runtime, data: LabelledImages, classes: int, config: VerifyConfig, report: Report
) -> nn.Module:
    """A network that was adversarially trained on the images, in as many steps as a victim."""
    model = new_network(data.images, classes, config.seed, runtime).train()
    network = TrainableNetwork(runtime, model, sgd(model, config, LR))
    step = ModelStep(network, Whole(), ADVERSARY)
    with deterministic():
        for number in range(config.steps):
            batch = data[batch_numbers(len(data.labels), config.batch, config.seed, number)].map(runtime.send)
            network.set_learning_rate(config, number)
            report(number + 1, step(batch.images.float() / 255, batch.labels, config.seed, "counter-noise", number))
    return model


def with_counter_noise(runtime: Runtime, model: nn.Module, data: LabelledImages, seed: int) -> LabelledImages:
    """The images with the noise that raises the network's loss at their labels most, at most 8 grey levels."""
    network, noisy = runtime.folded(model), []
    with deterministic():
        for first in range(0, len(data.labels), APPLIED):
            part = data[first : first + APPLIED]
            sent = part.map(runtime.send)

            def noise(number: int, here: slice, first: int = first, sent: LabelledImages = sent) -> Tensor:
                generator = runtime.generator(seed, "counter-noise of", first, number)
                x = sent.images[here].float() / 255
                return to_levels(ADVERSARY.perturb(network, x, sent.labels[here], generator), RHO)

            noisy.append(add(part.images, runtime.by_parts(len(part.labels), noise).cpu()))
    return LabelledImages(torch.cat(noisy), data.labels, data.sizes)
