"""Defensive noise for images (Algorithm 1, lines 2–9; the final pass of Eq. 10 with a frozen surrogate)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import ProtectConfig
from ..engine import Frozen, Runtime
from .ball import pgd, to_levels, uniform
from .views import View


def craft(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    view: View,
    config: ProtectConfig,
    generator: torch.Generator,
) -> Tensor:
    """δᵘ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,): float, the same shape, |δᵘ| ≤ rho_u.

    K_u signed steps down the gradient of Eq. 10.
    """
    frozen = runtime.frozen(model)
    return pgd(
        lambda delta: expected_gradient(runtime, frozen, images + delta, labels, view, config, generator),
        images,
        rho=config.rho_u,
        alpha=config.alpha_u,
        steps=config.steps_u,
        towards="less",
        generator=generator,
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
    """The gradient of the loss of t(x) + δʳ at float images x (N, 3, H, W), summed over J draws of the view t and of
    the uniform perturbation δʳ (Eq. 10; float32 sums). `runtime.fold` draws go through the network together.
    """
    total = torch.zeros_like(images)
    for first in range(0, config.draws, runtime.fold):
        views, seen = [], []
        for _ in range(first, min(first + runtime.fold, config.draws)):
            views.append(view.draw(images, generator))
            seen.append(view.apply(images, views[-1]))
            seen[-1] += uniform(seen[-1], config.rho_r, generator)
        perturbed = torch.cat(seen)
        gradient = frozen.gradient(perturbed.clamp(0, 1), labels.repeat(len(views)))
        gradient *= (perturbed >= 0) & (perturbed <= 1)  # clipped pixels have none
        for each, part in zip(views, torch.split(gradient, len(images)), strict=True):
            total += view.adjoint(part, each)
    return total


def add(images: Tensor, noise: Tensor) -> Tensor:
    """uint8 images plus int8 noise in grey levels, clipped to 0..255: the protected uint8 images."""
    return (images.to(torch.int16) + noise).clamp_(0, 255).to(torch.uint8)


def craft_levels(
    runtime: Runtime,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    view: View,
    config: ProtectConfig,
    shard: int,
    at: int,
) -> Tensor:
    """The final noise of one batch: int8 (N, 3, H, W) in grey levels, for uint8 images of the same shape.

    The random draws depend on the seed, the shard and the place `at` of the batch within it, on nothing else.
    """
    x = images.to(runtime.device).float() / 255
    generator = runtime.generator(config.seed, "craft", shard, at)
    delta = craft(runtime, model, x, labels.to(runtime.device), view, config.final(), generator)
    return to_levels(delta, config.rho_u).cpu()
