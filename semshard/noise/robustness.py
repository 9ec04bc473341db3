"""How robust a surrogate and a noise are: Definitions 1 and 2 of the SEM paper (Eqs. 8 and 9).

Both are minus a loss under the worst perturbation δᵃ, after the other side of the game was solved anew from a random
start: for a surrogate the noise, by PGD; for a noise the network, by adversarial training, which the caller does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime
from ..settings import ProtectConfig
from .adversary import InnerPerturbation, inner
from .craft import craft
from .views import View, noise_view

BATCH = 250


def of_surrogate(
    runtime: Runtime, model: nn.Module, images: Tensor, labels: Tensor, view: View, config: ProtectConfig, seed: int
) -> float:
    """R_θ = −max_{δᵃ} min_{δᵘ} of the mean loss of f_θ(t(x + δᵘ) + δᵃ) (Eq. 8), the network θ fixed.

    uint8 images (N, 3, H, W), int64 labels (N,). δᵘ is found as the final noise of REM (Eq. 7), within `config`.
    """
    against = dataclasses.replace(config, method="cell", noise_step="pgd").final()

    def crafted(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return x + craft(runtime, model, x, y, noise_view(view, against), against, generator)

    within = inner("pgd", config)
    return -mean_loss(runtime, model, images, labels, view, within, config.draws, seed, crafted)


def of_noise(
    runtime: Runtime,
    model: nn.Module,
    protected: Tensor,
    labels: Tensor,
    view: View,
    within: InnerPerturbation,
    draws: int,
    seed: int,
) -> float:
    """R_δᵘ = −max_{δᵃ} min_θ of the mean loss of f_θ(t(x + δᵘ) + δᵃ) (Eq. 9), the noise δᵘ fixed.

    `model` is a network trained adversarially on the uint8 images with the noise, `protected` (N, 3, H, W).
    """
    return -mean_loss(runtime, model, protected, labels, view, within, draws, seed, lambda x, y, generator: x)


def mean_loss(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    view: View,
    within: InnerPerturbation,
    draws: int,
    seed: int,
    change: Callable[[Tensor, Tensor, torch.Generator], Tensor],
) -> float:
    """The mean cross-entropy of f(t(x′) + δᵃ) over uint8 images, x′ = `change`(x, labels, random stream)."""
    total = 0.0
    for at in range(0, len(labels), BATCH):
        generator = runtime.generator(seed, "robustness", at)
        x, y = images[at : at + BATCH].to(runtime.device).float() / 255, labels[at : at + BATCH].to(runtime.device)
        total += adversarial_loss(runtime, model, change(x, y, generator), y, view, within, draws, generator)
    return total / len(labels)


def adversarial_loss(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    view: View,
    within: InnerPerturbation,
    draws: int,
    generator: torch.Generator,
) -> float:
    """The cross-entropy, summed over the batch, of f(t(x) + δᵃ), the mean of `draws` views t with a PGD δᵃ each."""
    frozen, total = runtime.frozen(model), torch.zeros((), device=images.device)
    for _ in range(draws):
        seen = view.apply(images, view.draw(images, generator))
        delta = within.ascend(frozen, seen, labels, within.start(seen, generator))
        with torch.no_grad():
            total += F.cross_entropy(frozen(seen + delta), labels, reduction="sum")
    return float(total) / draws
