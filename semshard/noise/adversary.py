"""The adversary: the perturbation within a radius that a network likes least; and training against it (Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine import Runtime, parameter_step
from .ball import pgd
from .views import View


def adversary(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    rho: float,
    alpha: float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """δᵃ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,): float, the same shape, |δᵃ| ≤ rho.

    Batch norm is frozen meanwhile, and no parameter gradient is computed. A radius of 0 gives zeros.
    """
    if rho == 0:
        return torch.zeros_like(images)

    frozen = runtime.frozen(model)
    return pgd(
        lambda delta: frozen.gradient(images + delta, labels),
        images,
        rho=rho,
        alpha=alpha,
        steps=steps,
        towards="more",
        generator=generator,
    )


def adversarial_step(
    runtime: Runtime,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    view: View,
    generator: torch.Generator,
    *,
    rho: float,
    alpha: float,
    steps: int,
) -> Tensor:
    """A step of adversarial training on a view of float images (N, 3, H, W) in [0, 1] (Algorithm 1, lines 10–12).

    Returns the loss, detached, on the device. A radius of 0 is standard training.
    """
    seen = view.apply(images, view.draw(images, generator))
    delta = adversary(runtime, model, seen, labels, rho=rho, alpha=alpha, steps=steps, generator=generator)
    return parameter_step(runtime, model, optimiser, seen + delta, labels)
