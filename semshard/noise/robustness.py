"""How robust a surrogate and a noise are: Definitions 1 and 2 of the SEM paper (Eqs. 8 and 9).

Both are minus a loss under the worst perturbation δᵃ, after the other side of the game was solved anew from a random
start: for a surrogate the noise, by PGD; for a noise the network, by adversarial training, which the caller does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..settings import ProtectConfig
from .adversary import InnerPerturbation, inner_perturbation
from .craft import NoiseCrafter
from .views import View, noise_view

BATCH = 250

Change = Callable[[Tensor, Tensor, View, torch.Generator], Tensor]  # of images x by labels: x′, from a random stream


@dataclass(frozen=True)
class AdversarialLoss:
    """The cross-entropy of f(t(x) + δᵃ): `draws` views t of an image, each with a δᵃ found by PGD."""

    runtime: Runtime
    network: FoldedNetwork
    view: View
    perturbation: InnerPerturbation
    draws: int
    seed: int = 0

    def mean(
        self,
        images: Tensor,
        labels: Tensor,
        sizes: Tensor | None = None,
        change: Change = lambda x, labels, view, generator: x,
    ) -> float:
        """The mean over uint8 images (N, 3, H, W) with int64 labels (N,), each changed by `change` before; `sizes`,
        int64 (N, 2), are those that squashed photographs have by themselves.
        """
        total, device = 0.0, self.runtime.device
        for at in range(0, len(labels), BATCH):
            here = slice(at, at + BATCH)
            generator = self.runtime.generator(self.seed, "robustness", at)
            x, y = images[here].to(device).float() / 255, labels[here].to(device)
            view = self.view.on(None if sizes is None else sizes[here].to(device))
            total += self._sum(change(x, y, view, generator), y, view, generator)
        return total / len(labels)

    def _sum(self, images: Tensor, labels: Tensor, view: View, generator: torch.Generator) -> float:
        """The sum over a batch of float images (N, 3, H, W) in [0, 1], the mean over the draws."""
        total = torch.zeros((), device=images.device)
        for _ in range(self.draws):
            seen = view.apply(images, view.draw(images, generator))
            start = self.perturbation.start(seen, generator)
            delta = self.perturbation.ascend(self.network, seen, labels, start)
            with torch.no_grad():
                total += F.cross_entropy(self.network(seen + delta), labels, reduction="sum")
        return float(total) / self.draws


@dataclass(frozen=True)
class SurrogateRobustness:
    """R_θ = −max_{δᵃ} min_{δᵘ} of the mean loss of f_θ(t(x + δᵘ) + δᵃ) (Eq. 8), the network θ fixed.

    δᵘ is found as the final noise of REM (Eq. 7), within `config`.
    """

    runtime: Runtime
    network: FoldedNetwork
    view: View
    config: ProtectConfig
    seed: int

    def __call__(self, images: Tensor, labels: Tensor, sizes: Tensor | None = None) -> float:
        """Of images as `AdversarialLoss.mean` takes them."""
        views = ("none",) if self.config.views_first else self.config.noise_views  # of Eq. 8 the noise is the image's
        rem = dataclasses.replace(self.config, method="cell", noise_step="pgd", noise_views=views).final()
        adversary, draws = inner_perturbation("pgd", self.config), self.config.draws
        loss = AdversarialLoss(self.runtime, self.network, self.view, adversary, draws, self.seed)

        def protected(x: Tensor, y: Tensor, view: View, generator: torch.Generator) -> Tensor:
            crafter = NoiseCrafter(self.network, noise_view(view, rem), rem, self.runtime.draws_together)
            return x + crafter(x, y, generator)

        return -loss.mean(images, labels, sizes, protected)


def noise_robustness(loss: AdversarialLoss, protected: Tensor, labels: Tensor, sizes: Tensor | None = None) -> float:
    """R_δᵘ = −max_{δᵃ} min_θ of the mean loss of f_θ(t(x + δᵘ) + δᵃ) (Eq. 9), the noise δᵘ fixed.

    The network of `loss` was trained adversarially on the uint8 images with the noise, `protected` (N, 3, H, W).
    """
    return -loss.mean(protected, labels, sizes)
