"""Defensive noise for images by a frozen network (Algorithm 1, lines 2–9; Eqs. 6 and 10)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine import Frozen, Runtime
from ..settings import ProtectConfig
from .adversary import inner
from .ball import pgd, uniform
from .views import View


def craft(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    view: View,
    config: ProtectConfig,
    generator: torch.Generator,
    grey: Tensor | None = None,
) -> Tensor:
    """δᵘ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,): float, the same shape, |δᵘ| ≤ rho_u.

    K_u signed steps down the expected gradient. Where bool `grey` (N, 1, 1, 1) is true, the same in all channels.
    """
    frozen = runtime.frozen(model)

    def gradient(delta: Tensor) -> Tensor:
        return _equal(expected_gradient(runtime, frozen, images + delta, labels, view, config, generator), grey)

    return pgd(
        gradient,
        images,
        _equal(uniform(images, config.rho_u, generator), grey),
        rho=config.rho_u,
        alpha=config.alpha_u,
        steps=config.steps_u,
        direction="minimise",
    )


def expected_gradient(
    runtime: Runtime,
    frozen: Frozen,
    images: Tensor,
    labels: Tensor,
    view: View,
    config: ProtectConfig,
    generator: torch.Generator,
) -> Tensor:
    """The gradient of the loss of t(x) + δ at float images x (N, 3, H, W), summed over J draws of the view t and of
    the inner perturbation δ of the noise step: random in Eq. 10, adversarial in Eq. 6, or none (float32 sums).
    `runtime.fold` draws go through the network together.
    """
    within = inner(config.noise_step, config)
    total = torch.zeros_like(images)
    for first in range(0, config.draws, runtime.fold):
        views, seen, starts = [], [], []
        for _ in range(first, min(first + runtime.fold, config.draws)):
            views.append(view.draw(images, generator))
            seen.append(view.apply(images, views[-1]))
            starts.append(within.start(seen[-1], generator))
        together, repeated = torch.cat(seen), labels.repeat(len(views))
        perturbed = together + within.ascend(frozen, together, repeated, torch.cat(starts))
        gradient = frozen.gradient(perturbed.clamp(0, 1), repeated)
        gradient *= (perturbed >= 0) & (perturbed <= 1)  # clipped pixels have none
        for each, part in zip(views, torch.split(gradient, len(images)), strict=True):
            total += view.adjoint(part, each)
    return total


def grey_images(images: Tensor) -> Tensor:
    """Which of images (N, 3, H, W) have three equal channels: bool (N, 1, 1, 1)."""
    return (images == images[:, :1]).all(3, keepdim=True).all(2, keepdim=True).all(1, keepdim=True)


def _equal(values: Tensor, grey: Tensor | None) -> Tensor:
    return values if grey is None else torch.where(grey, values.mean(1, keepdim=True), values)


def add(images: Tensor, noise: Tensor) -> Tensor:
    """uint8 images plus int8 noise in grey levels, clipped to 0..255: the protected uint8 images."""
    return (images.to(torch.int16) + noise).clamp_(0, 255).to(torch.uint8)
