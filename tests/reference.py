"""Equations 5, 6 and 10, Algorithm 1 and Table 7 of the SEM paper, and Equation 1 of SimCLR, transcribed line by line:
slow, plain, float64.

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
    return valid(x + delta) - x


def valid(images: torch.Tensor) -> torch.Tensor:
    """Clipped to [0, 1]; the gradient is that of the values inside, 0 and 1 among them."""
    return torch.where(images > 1, 1.0, torch.where(images < 0, 0.0, images))


def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(model(images), labels)


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


def inner_perturbation(
    kind: str,
    model: torch.nn.Module,
    seen: torch.Tensor,
    y: torch.Tensor,
    drawn: torch.Tensor,
    *,
    rho_a: float,
    alpha_a: float,
    steps_a: int,
) -> torch.Tensor:
    """Table 7's choices: nothing, the uniform `drawn` itself (Eq. 10), or PGD that starts at it (Eq. 6)."""
    if kind == "none":
        return torch.zeros_like(seen)
    if kind == "random":
        return drawn
    return adversary(model, seen, y, drawn, rho_a=rho_a, alpha_a=alpha_a, steps=steps_a)


def noise_gradient(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    delta: torch.Tensor,
    views: list[list[tuple[int, int, bool]]],
    drawn: list[torch.Tensor],
    pad: int,
    kind: str,
    **within: float,
) -> torch.Tensor:
    """Line 7: (1/J) Σⱼ ∂ℓ(f(tⱼ(x + δᵘ) + δⱼ), y) / ∂δᵘ. `views[j][n]` and `drawn[j]` are the draws."""
    draws = len(views)
    gradient = torch.zeros_like(x)
    for j in range(draws):
        d = delta.clone().requires_grad_(True)
        seen = torch.stack([view(x[n] + d[n], *views[j][n], pad) for n in range(len(x))])
        inner = inner_perturbation(kind, model, seen.detach(), y, drawn[j], **within)
        perturbed = valid(seen + inner)
        gradient += torch.autograd.grad(loss(model, perturbed, y), d)[0] / draws
    return gradient


def craft(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    start: torch.Tensor,
    views: list[list[list[tuple[int, int, bool]]]],
    drawn: list[list[torch.Tensor]],
    *,
    rho_u: float,
    alpha_u: float,
    pad: int,
    kind: str,
    **within: float,
) -> torch.Tensor:
    """Lines 2–9: `views[k][j][n]` and `drawn[k][j]` are the draws of step k; `start` is the random δᵘ."""
    model.eval()
    delta = project(start, x, rho_u)
    for k in range(len(views)):
        g = noise_gradient(model, x, y, delta, views[k], drawn[k], pad, kind, **within)
        delta = project(delta - alpha_u * torch.sign(g), x, rho_u)
    return delta


def craft_on_views(
    model: torch.nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    places: list[tuple[int, int, bool]],
    start: torch.Tensor,
    *,
    rho_u: float,
    alpha_u: float,
    steps: int,
    pad: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """EM as the paper's tables have it: the views t(x), and the δ of t(x) + δ. The surrogate learns from their sum;
    the last δ, rounded, is added to x.
    """
    model.eval()
    seen = torch.stack([view(x[n], *places[n], pad) for n in range(len(x))])
    delta = project(start, seen, rho_u)
    for _ in range(steps):
        d = delta.clone().requires_grad_(True)
        g = torch.autograd.grad(loss(model, seen + d, y), d)[0]
        delta = project(delta - alpha_u * torch.sign(g), seen, rho_u)
    return seen, delta


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


def nt_xent(first: torch.Tensor, second: torch.Tensor, tau: float) -> torch.Tensor:
    """Equation 1 and Algorithm 1 of SimCLR (Chen et al., ICML 2020): `first[k]` and `second[k]` are the projections of
    the two views of image k.
    """
    z = [row for pair in zip(first, second, strict=True) for row in pair]  # 2k and 2k + 1 belong together

    def s(i: int, j: int) -> torch.Tensor:
        return (z[i] * z[j]).sum() / ((z[i] ** 2).sum().sqrt() * (z[j] ** 2).sum().sqrt())

    def ell(i: int, j: int) -> torch.Tensor:
        among = sum(torch.exp(s(i, k) / tau) for k in range(len(z)) if k != i)
        return -torch.log(torch.exp(s(i, j) / tau) / among)

    return sum(ell(i, i + 1) + ell(i + 1, i) for i in range(0, len(z), 2)) / len(z)
