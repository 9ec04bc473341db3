"""The pair denoiser: a small residual network that an attacker trains on pairs, images of his own and their protected
forms, to undo the protection.

Wang et al., NeurIPS 2025 (BridgePure), learn from such pairs with a diffusion bridge. This is the cheap form: a network
that predicts the noise, which is then subtracted (DnCNN, Zhang et al., TIP 2017), trained with an L1 loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime, batch_numbers, deterministic
from ..models import seeded

WIDTH = 32  # channels at full resolution; twice as many at half of it
BLOCKS = 2
LR = 2e-3  # of Adam, falling to 0 along a cosine
APPLIED = 256  # images that are denoised at once

Report = Callable[[int, Tensor], None]  # steps done, loss


class _Block(nn.Module):
    """Two 3 × 3 convolutions with a shortcut, without batch norm, which would blur grey levels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.conv2(F.relu(self.conv1(x))))


class Denoiser(nn.Module):
    """Float images (N, 3, H, W) in [0, 1] to such images, each less the noise that the network finds in it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.down = nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, padding=1)
        self.blocks = nn.Sequential(*(_Block(2 * WIDTH) for _ in range(BLOCKS)))
        self.up = nn.Conv2d(2 * WIDTH, 4 * WIDTH, 1)
        self.last = nn.Conv2d(WIDTH, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)  # begins with images as they are
        nn.init.zeros_(cast(Tensor, self.last.bias))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        even = F.pad(images - 0.5, (0, width % 2, 0, height % 2), mode="replicate")
        fine = F.relu(self.first(even))
        coarse = self.blocks(F.relu(self.down(fine)))
        both = F.relu(fine + F.pixel_shuffle(self.up(coarse), 2))
        noise = self.last(both)[:, :, :height, :width]
        return images - cast(Tensor, noise)


def new_denoiser(seed: int, runtime: Runtime) -> nn.Module:
    """An untrained denoiser on the device, its weights drawn from `seed` alone."""
    with seeded(seed):
        return runtime.place(Denoiser())


def train_denoiser(
    runtime: Runtime, protected: Tensor, clean: Tensor, *, steps: int, batch: int, seed: int, report: Report
) -> nn.Module:
    """A denoiser that was trained for so many steps on pairs of uint8 images (N, 3, H, W)."""
    model = new_denoiser(seed, runtime)
    parameters = list(model.parameters())
    optimiser = torch.optim.Adam(parameters, LR)
    with deterministic():
        for step in range(steps):
            numbers = batch_numbers(len(clean), batch, seed, step)
            x, y = (runtime.send(images[numbers]).float() / 255 for images in (protected, clean))
            loss, gradients = _gradients(runtime, model, parameters, x, y)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            optimiser.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimiser.step()
            report(step + 1, loss)
    return model


def _gradients(
    runtime: Runtime, model: nn.Module, parameters: list[nn.Parameter], x: Tensor, y: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The mean absolute error of a batch and its gradients; on a CPU parts of the batch go through at once."""

    def part(number: int, here: slice) -> Tensor:
        loss = (runtime.logits(model, x[here]) - y[here]).abs().sum() / y.numel()
        found = torch.autograd.grad(loss, parameters)
        return torch.cat([loss.detach()[None], *(gradient.flatten() for gradient in found)])[None]

    total = runtime.by_parts(len(x), part).sum(0)
    pieces = torch.split(total[1:], [parameter.numel() for parameter in parameters])
    return total[0], [piece.view_as(own) for piece, own in zip(pieces, parameters, strict=True)]


@torch.no_grad()
def denoise(runtime: Runtime, model: nn.Module, images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) without the noise that the network finds in them, as uint8."""

    def part(number: int, here: slice) -> Tensor:
        return runtime.logits(model, runtime.send(given[here]).float() / 255)

    cleaned = []
    with deterministic():
        for given in torch.split(images, APPLIED):
            found = runtime.by_parts(len(given), part)
            cleaned.append((found * 255).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(cleaned)
