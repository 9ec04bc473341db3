"""What perturbs a view: nothing, chance, or the adversary that looks for what a network likes least (Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..engine import Frozen, Runtime, parameter_step
from ..settings import ProtectConfig
from .ball import pgd, project, uniform
from .views import View


@dataclass(frozen=True)
class InnerPerturbation:
    """The inner perturbation of a noise step or a model step: PGD within `rho`, up the loss, from a random start.

    Without steps it is the random start itself, without a radius nothing: these are the choices of Table 7.
    """

    rho: float
    alpha: float = 0.0
    steps: int = 0

    def start(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Uniform in ±rho, of the shape of `images`."""
        return uniform(images, self.rho, generator) if self.rho else torch.zeros_like(images)

    def ascend(self, frozen: Frozen, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """From `start` up the loss at float images (N, 3, H, W) in [0, 1], int64 labels (N,)."""
        if not (self.rho and self.steps):
            return start
        return pgd(
            lambda delta: frozen.gradient(images + delta, labels),
            images,
            start,
            rho=self.rho,
            alpha=self.alpha,
            steps=self.steps,
            direction="maximise",
        )


def inner(kind: str, config: ProtectConfig) -> InnerPerturbation:
    """The perturbation that "none", "random" or "pgd" stands for."""
    if kind == "pgd":
        return InnerPerturbation(config.rho_a, config.alpha_a, config.steps_a)
    return InnerPerturbation(config.rho_r if kind == "random" else 0.0)


def adversary(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    within: InnerPerturbation,
    generator: torch.Generator,
) -> Tensor:
    """δᵃ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,): float, the same shape, |δᵃ| ≤ rho.

    Batch norm is frozen meanwhile, and no parameter gradient is computed. A radius of 0 gives zeros.
    """
    start = within.start(images, generator)
    if not within.steps:
        return project(start, images, within.rho)
    return within.ascend(runtime.frozen(model), images, labels, start)


def model_step(
    runtime: Runtime,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    view: View,
    within: InnerPerturbation,
    generator: torch.Generator,
) -> Tensor:
    """A training step on a perturbed view of float images (N, 3, H, W) in [0, 1] (Algorithm 1, lines 10–12; Eq. 5).

    Returns the loss, detached, on the device. Without an inner perturbation it is standard training.
    """
    seen = view.apply(images, view.draw(images, generator))
    delta = adversary(runtime, model, seen, labels, within, generator)
    return parameter_step(runtime, model, optimiser, seen + delta, labels)
