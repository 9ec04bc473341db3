"""Defensive noise for images (Algorithm 1, lines 2–9; the final pass of Eq. 10 with a frozen surrogate)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ProtectConfig
from ..engine import Runtime
from .ball import pgd, to_levels, uniform
from .views import View, see


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

    K_u signed steps down the loss of t(x + δᵘ) + δʳ, its gradient summed over J draws of the view t and of the
    uniform perturbation δʳ (Eq. 10).
    """

    logits = runtime.frozen(model)

    def gradient(delta: Tensor) -> Tensor:
        delta = delta.detach().requires_grad_()
        total = torch.zeros_like(delta)
        for _ in range(config.draws):
            seen = see(view, images + delta, view.draw(images, generator))
            perturbed = (seen + uniform(seen, config.rho_r, generator)).clamp(0, 1)
            loss = F.cross_entropy(logits(perturbed), labels, reduction="sum")
            total += torch.autograd.grad(loss, delta)[0]
        return total

    return pgd(
        gradient,
        images,
        rho=config.rho_u,
        alpha=config.alpha_u,
        steps=config.steps_u,
        towards="less",
        generator=generator,
    )


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
