"""The L∞ ball around an image, inside the box of valid pixels: random start, projection, signed steps.

Projected gradient descent as in Madry et al. 2018. Projecting onto the ball and the box together keeps the perturbed
image valid at every step, so that no gradient is lost to clipping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..engine.captured import on_gpu
from ..settings import levels


def uniform(like: Tensor, rho: float, generator: torch.Generator) -> Tensor:
    """A perturbation of the shape, dtype and device of `like`, uniform in [−rho, rho]."""
    draw = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return draw.mul_(2 * rho).sub_(rho)


def add_coarse_uniform(images: Tensor, rho: float, generator: torch.Generator, drawn: Tensor | None = None) -> Tensor:
    """Add to every value of dense float32 images, in place, one of 256 equally spaced values in ±rho, each as likely.

    Eight values per random number take a quarter of the time of eight numbers. `drawn`, float32 of as many values, is
    memory for them.
    """
    count = images.numel()
    flat = images.as_strided((count,), (1,))
    drawn = torch.empty_like(flat) if drawn is None else drawn.view(-1)
    drawn.copy_(_words(-(-count // 8), images.device, generator).view(torch.int8)[:count])
    step = 2 * rho / 256
    flat.add_(drawn, alpha=step).add_(step / 2)
    return images


def _words(count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Random int64 (count,). NumPy's generator, started by one number of torch's, needs half of the time of that one on
    a CPU.
    """
    whole = on_gpu(device)
    words = torch.empty(count if whole else 1, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    if whole:
        return words
    seed = int(words) % 2**64
    return torch.from_numpy(np.random.SFC64(seed).random_raw(count).view(np.int64))


def within(gradient: Tensor, images: Tensor) -> Tensor:
    """`gradient` where images, less ½, are in ±½, both limits among them; elsewhere 0. In one pass."""
    limit = 0.5 + torch.finfo(images.dtype).eps / 2  # the next number above ½
    inside: Tensor = torch.ops.aten.hardtanh_backward(gradient, images, -limit, limit)
    return inside


def project(delta: Tensor, x: Tensor, rho: float) -> Tensor:
    """The nearest perturbation with |δ| ≤ rho and x + δ in [0, 1]."""
    return torch.clamp(delta.clamp(-rho, rho), -x, 1 - x)


def pgd(
    gradient: Callable[[Tensor], Tensor],
    x: Tensor,
    start: Tensor,
    *,
    rho: float,
    alpha: float,
    steps: int,
    direction: Literal["minimise", "maximise"],
) -> Tensor:
    """A perturbation of x (N, C, H, W) that makes a loss smaller ("minimise") or larger ("maximise").

    `gradient` maps a perturbation to the loss gradient at it, of the same shape; only its sign is used. `start` has
    the shape of x. Returns δ with |δ| ≤ rho and x + δ in [0, 1].
    """
    signed = alpha if direction == "maximise" else -alpha
    black, white = -x, 1 - x
    low = torch.minimum(black.clamp(min=-rho), white)  # what `project` clamps to, found once
    high = torch.maximum(white.clamp(max=rho), black)
    delta = torch.clamp(start, low, high)
    for _ in range(steps):
        delta = torch.add(delta, gradient(delta).sign(), alpha=signed).clamp_(low, high)
    return delta


def to_levels(delta: Tensor, rho: float) -> Tensor:
    """The noise as it is stored: int8 steps of 1/255, none above the budget."""
    most = levels(rho)
    return (delta * 255).round().clamp(-most, most).to(torch.int8)
