"""Algorithm 1 the plain way, as published code does it: the baseline of the benchmark.

float32, channels first, the J draws one after the other, views applied image by image in Python, batch norm as it is.
Short on purpose, and never used to protect anything.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..noise import InnerPerturbation
from ..settings import ProtectConfig


def view(images: Tensor, pad: int) -> Tensor:
    """Flip with probability ½, then crop from the image padded with black, one image at a time."""
    seen = []
    for image in images:
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        top, left = torch.randint(0, 2 * pad + 1, (2,)).tolist()
        height, width = image.shape[1:]
        seen.append(F.pad(image, (pad, pad, pad, pad))[:, top : top + height, left : left + width])
    return torch.stack(seen)


def input_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the loss at the images; the parameters' flags are toggled meanwhile."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(images), labels), images)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return gradient


def craft(model: nn.Module, images: Tensor, labels: Tensor, config: ProtectConfig) -> Tensor:
    """Defensive noise (lines 2–9)."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    delta = torch.empty_like(images).uniform_(-config.rho_u, config.rho_u)
    for _ in range(config.steps_u):
        delta.requires_grad_()
        total = torch.zeros_like(images)
        for _ in range(config.draws):
            seen = view((images + delta).clamp(0, 1), config.pad)
            noisy = (seen + torch.empty_like(seen).uniform_(-config.rho_r, config.rho_r)).clamp(0, 1)
            total += torch.autograd.grad(F.cross_entropy(model(noisy), labels), delta)[0]
        delta = (delta.detach() - config.alpha_u * total.sign()).clamp(-config.rho_u, config.rho_u)
        delta = (images + delta).clamp(0, 1) - images
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return delta


def adversarial_step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    adversary: InnerPerturbation,
    pad: int,
) -> float:
    """A step of adversarial training (lines 10–12)."""
    rho, alpha = adversary.rho, adversary.alpha
    seen = view(images, pad)
    model.eval()
    perturbed = (seen + torch.empty_like(seen).uniform_(-rho, rho)).clamp(0, 1)
    for _ in range(adversary.steps):
        perturbed = perturbed + alpha * input_gradient(model, perturbed, labels).sign()
        perturbed = torch.min(torch.max(perturbed, seen - rho), seen + rho).clamp(0, 1)
    model.train()
    optimiser.zero_grad()
    loss = F.cross_entropy(model(perturbed), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss.item()


def surrogate_step(
    model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, config: ProtectConfig
) -> float:
    """One pass of Algorithm 1's loop."""
    delta = (craft(model, images, labels, config) * 255).round() / 255
    adversary = InnerPerturbation(config.rho_a, config.alpha_a, config.steps_a)
    return adversarial_step(model, optimiser, (images + delta).clamp(0, 1), labels, adversary, config.pad)
