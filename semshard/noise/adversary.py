"""The adversary: the perturbation within a radius that a network likes least (inner maximum of Eq. 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime
from .ball import pgd


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

    logits = runtime.frozen(model)

    def gradient(delta: Tensor) -> Tensor:
        delta = delta.detach().requires_grad_()
        loss = F.cross_entropy(logits(images + delta), labels, reduction="sum")
        return torch.autograd.grad(loss, delta)[0]

    return pgd(gradient, images, rho=rho, alpha=alpha, steps=steps, towards="more", generator=generator)
