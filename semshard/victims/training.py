"""Training a victim, adversarially or not, and testing it on clean images (Eq. 2; REFERENCE settings of the paper)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import VerifyConfig
from ..engine import Runtime, batch_numbers, deterministic, set_learning_rate, sgd
from ..models import build
from ..noise import Inner, model_step
from ..noise.views import View, make_view

TRAIN_SAMPLE = 2000  # training images that the training accuracy is taken on
TEST_BATCH = 500


@dataclass(frozen=True)
class Labelled:
    """Images uint8 (N, 3, H, W) with int64 labels (N,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Point:
    """A victim after `step` steps; accuracies in [0, 1], on unperturbed images without augmentation."""

    step: int
    test: float
    train: float


@dataclass(frozen=True)
class Victim:
    """A trained victim and the way it went."""

    model: nn.Module
    curve: list[Point]

    @property
    def final(self) -> float:
        """Test accuracy after the last step."""
        return self.curve[-1].test

    @property
    def best(self) -> float:
        """Highest test accuracy on the way."""
        return max(point.test for point in self.curve)

    @property
    def train(self) -> float:
        """Accuracy on the images it was trained on, after the last step."""
        return self.curve[-1].train


def train_victim(
    runtime: Runtime,
    train: Labelled,
    test: Labelled,
    classes: int,
    config: VerifyConfig,
    rho_a: float,
    advance: Callable[[int, Tensor, Point | None], None] = lambda step, loss, point: None,
) -> Victim:
    """Train a fresh victim on `train` with an adversary of radius `rho_a`, following its accuracy on `test`.

    Draws, batches and initial weights depend on `config.seed` alone, so that victims differ in their data only.
    `advance(steps done, loss, point or None)` is called after every step.
    """
    view, seen_size = make_view(config, (train.images.shape[2], train.images.shape[3]))
    model = runtime.place(build(config.network, classes, seen_size, config.seed))
    optimiser = sgd(model, config)
    within = Inner(rho_a, rho_a * config.step_share, config.steps_a)
    sample = Labelled(train.images[:TRAIN_SAMPLE], train.labels[:TRAIN_SAMPLE])
    stops = {round(config.steps * k / config.evaluations) for k in range(1, config.evaluations + 1)}
    curve: list[Point] = []
    model.train()
    with deterministic():
        for step in range(config.steps):
            set_learning_rate(optimiser, config, step)
            numbers = batch_numbers(len(train.labels), config.batch, config.seed, step)
            generator = runtime.generator(config.seed, "victim", step)
            images = train.images[numbers].to(runtime.device).float() / 255
            labels = train.labels[numbers].to(runtime.device)
            loss = model_step(runtime, model, optimiser, images, labels, view, within, generator)
            point = None
            if step + 1 in stops:
                scores = accuracy(runtime, model, test, view), accuracy(runtime, model, sample, view)
                point = Point(step + 1, *scores)
                curve.append(point)
            advance(step + 1, loss, point)
    return Victim(model, curve)


@torch.no_grad()
def accuracy(runtime: Runtime, model: nn.Module, data: Labelled, view: View) -> float:
    """The share of `data` that the model names rightly, through the view's centre, in [0, 1]."""
    right = torch.zeros((), dtype=torch.int64, device=runtime.device)
    logits = runtime.frozen(model)
    for at in range(0, len(data.labels), TEST_BATCH):
        images = data.images[at : at + TEST_BATCH].to(runtime.device).float() / 255
        seen = view.apply(images, view.centre(images))
        guess = logits(seen).argmax(1)
        right += (guess == data.labels[at : at + TEST_BATCH].to(runtime.device)).sum()
    return int(right) / len(data.labels)
