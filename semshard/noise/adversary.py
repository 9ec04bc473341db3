"""What perturbs a view: nothing, chance, or an adversary that raises the loss of a network (Eq. 2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..engine import FoldedNetwork, TrainableNetwork
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

    def ascend(self, network: FoldedNetwork, images: Tensor, labels: Tensor, start: Tensor) -> Tensor:
        """From `start` up the loss at float images (N, 3, H, W) in [0, 1], int64 labels (N,)."""
        if not (self.rho and self.steps):
            return start
        return pgd(
            lambda delta: network.gradient(images + delta, labels),
            images,
            start,
            rho=self.rho,
            alpha=self.alpha,
            steps=self.steps,
            direction="maximise",
        )

    def perturb(self, network: FoldedNetwork, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """δᵃ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,): float, the same shape, |δᵃ| ≤ rho, and
        images + δᵃ lies in [0, 1]. A radius of 0 gives zeros.
        """
        start = self.start(images, generator)
        if not self.steps:
            return project(start, images, self.rho)
        return self.ascend(network, images, labels, start)


def inner_perturbation(kind: str, config: ProtectConfig) -> InnerPerturbation:
    """The perturbation that "none", "random" or "pgd" stands for."""
    if kind == "pgd":
        return InnerPerturbation(config.rho_a, config.alpha_a, config.steps_a)
    return InnerPerturbation(config.rho_r if kind == "random" else 0.0)


@dataclass(frozen=True)
class ModelStep:
    """A training step on perturbed views (Algorithm 1, lines 10–12; Eq. 5): views, then `perturbation`, then SGD.

    Without an inner perturbation it is standard training.
    """

    network: TrainableNetwork
    view: View
    perturbation: InnerPerturbation

    def __call__(self, images: Tensor, labels: Tensor, seed: int, *where: str | int) -> Tensor:
        """Train on float images (N, 3, H, W) in [0, 1]; the loss, detached, on the device. Random draws depend on
        `seed` and `where`.
        """
        runtime, network = self.network.runtime, self.network.folded

        def perturbed(part: int, here: slice) -> Tensor:
            function, generator = partial(self.perturbed, network), runtime.generator(seed, *where, part)
            return network.graphs(
                ("model step", self.view, self.perturbation), function, images[here], labels[here], generator=generator
            )

        return self.network.step(runtime.by_parts(len(images), perturbed), labels)

    def perturbed(self, network: FoldedNetwork, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """t(x) + δᵃ, of the shape that the network sees."""
        seen = self.view.apply(images, self.view.draw(images, generator))
        return seen + self.perturbation.perturb(network, seen, labels, generator)
