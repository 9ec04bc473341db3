"""The adversary: the perturbation within a radius that a network likes least (inner maximum of Eq. 2)."""

from __future__ import annotations

import torch
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
