"""Equations 5, 6 and 10 and Algorithm 1 of the SEM paper, transcribed line by line: slow, plain, float64.

Nothing here shares code with semshard. Images are views of pixels in [0, 1]; every random draw is handed in, so that
the fast code can be held against this one number by number.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F


def view(image: torch.Tensor, dy: int, dx: int, flip: bool, pad: int) -> torch.Tensor:
    """t of one image (C, H, W): flip, pad with black, crop at (pad + dy, pad + dx)."""
    channels, height, width = image.shape
    if flip:
        image = torch.stack([image[:, :, width - 1 - j] for j in range(width)], dim=2)
    padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=image.dtype)
    padded[:, pad : pad + height, pad : pad + width] = image
    return padded[:, pad + dy : pad + dy + height, pad + dx : pad + dx + width]


def project(delta: torch.Tensor, x: torch.Tensor, rho: float) -> torch.Tensor:
    """Π: the ball of radius rho, then the valid pixels."""
    delta = torch.where(delta > rho, rho, torch.where(delta < -rho, -rho, delta))
    valid = torch.where(x + delta > 1, 1.0, torch.where(x + delta < 0, 0.0, x + delta))
    return valid - x


def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(images), labels)


def eq10_gradient(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    delta: torch.Tensor,
    views: list[list[tuple[int, int, bool]]],
    randoms: list[torch.Tensor],
    pad: int,
) -> torch.Tensor:
    """Line 7: (1/J) Σⱼ ∂ℓ(f(tⱼ(x + δᵘ) + δʳⱼ), y) / ∂δᵘ. `views[j][n]` and `randoms[j]` are the draws."""
    draws = len(views)
    gradient = torch.zeros_like(x)
    for j in range(draws):
        d = delta.clone().requires_grad_(True)
        seen = torch.stack([view(x[n] + d[n], *views[j][n], pad) for n in range(len(x))])
        perturbed = torch.clamp(seen + randoms[j], 0.0, 1.0)
        gradient += torch.autograd.grad(loss(model, perturbed, y), d)[0] / draws
    return gradient


def craft(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    start: torch.Tensor,
    views: list[list[list[tuple[int, int, bool]]]],
    randoms: list[list[torch.Tensor]],
    *,
    rho_u: float,
    alpha_u: float,
    pad: int,
) -> torch.Tensor:
    """Lines 2–9: `views[k][j][n]` and `randoms[k][j]` are the draws of step k; `start` is the random δᵘ."""
    model.eval()
    delta = project(start, x, rho_u)
    for k in range(len(views)):
        g = eq10_gradient(model, x, y, delta, views[k], randoms[k], pad)
        delta = project(delta - alpha_u * torch.sign(g), x, rho_u)
    return delta


def adversary(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    start: torch.Tensor,
    *,
    rho_a: float,
    alpha_a: float,
    steps: int,
) -> torch.Tensor:
    """Line 11: PGD up the loss."""
    model.eval()
    delta = project(start, x, rho_a)
    for _ in range(steps):
        d = delta.clone().requires_grad_(True)
        g = torch.autograd.grad(loss(model, x + d, y), d)[0]
        delta = project(delta + alpha_a * torch.sign(g), x, rho_a)
    return delta


def model_step(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    momenta: dict[str, torch.Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """Line 12 and Eq. 5: one SGD step with momentum and weight decay on t(x + δᵘ) + δᵃ, in train mode."""
    model.train()
    gradients = torch.autograd.grad(loss(model, images, labels), list(model.parameters()))
    with torch.no_grad():
        for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
            gradient = gradient + weight_decay * parameter
            momenta[name] = momentum * momenta[name] + gradient if name in momenta else gradient
            parameter -= lr * momenta[name]


def rounded(delta: torch.Tensor, rho: float) -> torch.Tensor:
    """The noise as stored, in grey levels: rounded to whole ones, never above the budget."""
    most = int(np.floor(rho * 255 + 1e-6))
    return torch.clamp(torch.round(delta * 255), -most, most)
