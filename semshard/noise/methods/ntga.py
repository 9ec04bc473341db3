"""Neural tangent generalisation attack: noise on a block of images after which an infinitely wide network, trained on
the block, is wrong about images outside it.

Yuan and Wu, ICML 2021. The network has five fully connected layers with erf; its tangent kernel has a closed form
(Jacot et al. 2018; Williams 1997 for erf), and so has its state after time t of gradient descent (Lee et al. 2019):
f(v) = K(v, x) K⁻¹ (1 − exp(−K t / NC)) Y for N images of C classes, the loss being the mean square. The held-out loss
is the cross-entropy, as in its authors' code. Their released code takes the same single step ten times; here the steps
are taken one after the other, as their paper describes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...engine import Runtime
from ...errors import SettingError
from ...settings import ProtectConfig
from ..ball import pgd, to_levels
from .protocol import Photo

LAYERS = 5
WEIGHT_VARIANCE, BIAS_VARIANCE = 1.76, 0.18
TIME = 64.0
RIDGE = 1e-4  # of the kernel's mean diagonal, added to the diagonal
HELD_OUT = 4096  # images that the network is tested on, at most: with 512, noise protects less
MATRICES, COPIES = 70, 12  # of N × N and of the block that a step with its gradient holds at once, as measured

ONE_SIZE = "ntga needs images of one size; give --resolution N to bring all to N × N"

HeldOut = Callable[[NDArray[np.int64]], tuple[Tensor, Tensor]]


class Ntga:
    """`held_out` gives clean images uint8 (V, 3, H, W) and labels (V,) that are not among the numbers it is given."""

    def __init__(self, runtime: Runtime, config: ProtectConfig, classes: int, held_out: HeldOut) -> None:
        self._runtime, self._config, self._classes, self._held_out = runtime, config, classes, held_out

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        config, device = self._config, self._runtime.device
        others, answers = self._held_out(numbers)
        x, v = (part.to(device).double() / 255 for part in (images, others))
        targets, answers = F.one_hot(labels.to(device), self._classes).double(), answers.to(device)

        def gradient(delta: Tensor) -> Tensor:
            perturbed = (x + delta).flatten(1)
            return held_out_gradient(perturbed, targets, v.flatten(1), answers).view(x.shape)

        rho, alpha, steps = config.rho_u, config.final_alpha, config.final_steps
        delta = pgd(gradient, x, torch.zeros_like(x), rho=rho, alpha=alpha, steps=steps, direction="maximise")
        return to_levels(delta, rho).cpu()

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        raise SettingError(ONE_SIZE)


def check_block(runtime: Runtime, config: ProtectConfig, images: int, pixels: int) -> None:
    """Raise `SettingError` where no image is left outside a block, or the memory does not hold the kernel of one.

    `pixels` are the values of an image.
    """
    block = min(config.craft_batch, config.shard_size, images)
    if block >= images:
        raise SettingError(
            f"ntga tests each block of images on others, but a block of {block} leaves none of {images}; "
            f"set --craft-batch to {max(1, images // 2)} or less"
        )
    free = runtime.memory()
    if needed(block, pixels) > free:
        fits = largest(free, pixels)
        advice = f"--craft-batch {fits} fits" if fits else "no block fits"
        raise SettingError(
            f"the kernel of a block of {block} images takes about {needed(block, pixels) / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} are free; {advice}"
        )


def needed(block: int, pixels: int) -> int:
    """Bytes that a step on a block takes at most, in float64: kernels, the block, the held-out images."""
    return 8 * (MATRICES * block**2 + COPIES * block * pixels + HELD_OUT * pixels)


def largest(memory: int, pixels: int) -> int:
    """The largest block whose `needed` bytes fit; 0 where none does."""
    left = memory // 8 - HELD_OUT * pixels
    half = COPIES * pixels / (2 * MATRICES)
    return int(math.sqrt(half**2 + left / MATRICES) - half) if left > 0 else 0


def held_out_gradient(x: Tensor, targets: Tensor, v: Tensor, answers: Tensor) -> Tensor:
    """The gradient at x (N, D) of the cross-entropy, summed over v (V, D) with int64 answers (V,), of a network
    trained on x with targets (N, C). float64. The held-out images pass in parts of N.
    """
    x = x.detach().requires_grad_()
    learnt = learn(x, targets)
    weights = learnt.detach().requires_grad_()
    of_x, of_weights = torch.zeros_like(x), torch.zeros_like(weights)
    for part, answer in zip(torch.split(v, len(x)), torch.split(answers, len(x)), strict=True):
        loss = F.cross_entropy(predict(x, weights, part), answer, reduction="sum")
        for total, gradient in zip((of_x, of_weights), torch.autograd.grad(loss, (x, weights)), strict=True):
            total += gradient
    return of_x + torch.autograd.grad(learnt, x, of_weights)[0]


def learn(x: Tensor, targets: Tensor) -> Tensor:
    """What time t of training on x (N, D) with targets (N, C) comes to: one weight an image and class, (N, C)."""
    of_x = diagonal(x)
    inside = kernel(x, x, of_x, of_x)
    ridge = RIDGE * inside.diagonal().mean()
    inside = inside + ridge * torch.eye(len(x), dtype=x.dtype, device=x.device)
    learnt: Tensor = Descent.apply(inside, TIME / targets.numel())
    return learnt @ targets


def predict(x: Tensor, weights: Tensor, v: Tensor) -> Tensor:
    """What the network says of v (V, D) after `learn` of x (N, D) came to `weights`: (V, C)."""
    return kernel(v, x, diagonal(v), diagonal(x)) @ weights


def diagonal(x: Tensor) -> list[Tensor]:
    """K(x, x) before each layer's weights, (N,) each: what the correlations of that layer are taken by."""
    variance, found = (x * x).mean(1), []
    for _ in range(LAYERS):
        variance = WEIGHT_VARIANCE * variance + BIAS_VARIANCE
        found.append(variance)
        variance = 2 / math.pi * torch.asin(2 * variance / (1 + 2 * variance))
    return found


def kernel(a: Tensor, b: Tensor, of_a: list[Tensor], of_b: list[Tensor]) -> Tensor:
    """The tangent kernel of a (N, D) and b (M, D): (N, M), float64. `of_a` and `of_b` are their `diagonal`s.

    A layer adds its own parameters' share to the tangent kernel, and erf multiplies it by E[erf′ erf′].
    """
    covariance, tangent = a @ b.T / a.shape[1], torch.zeros((), dtype=a.dtype, device=a.device)
    for left, right in zip(of_a, of_b, strict=True):
        covariance = WEIGHT_VARIANCE * covariance + BIAS_VARIANCE
        tangent = WEIGHT_VARIANCE * tangent + covariance
        norms = (1 + 2 * left)[:, None] * (1 + 2 * right)
        tangent = tangent * (4 / math.pi) * torch.rsqrt(norms - 4 * covariance**2)
        covariance = 2 / math.pi * torch.asin(2 * covariance * torch.rsqrt(norms))
    return tangent


class Descent(torch.autograd.Function):
    """φ(K) = K⁻¹ (1 − exp(−K t)) of a symmetric positive K. Its derivative is the Daleckii–Krein formula, which needs
    no gaps between the eigenvalues.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, time: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        values = values.clamp(min=torch.finfo(values.dtype).tiny)
        phi = -torch.expm1(-values * time) / values
        ctx.time = time
        ctx.save_for_backward(values, vectors, phi)
        learnt: Tensor = (vectors * phi) @ vectors.T
        return learnt

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        values, vectors, phi = ctx.saved_tensors
        gap = values[:, None] - values
        slope = (ctx.time * torch.exp(-values * ctx.time) - phi) / values
        near = gap.abs() <= 1e-6 * (values[:, None] + values)
        divided = torch.where(near, (slope[:, None] + slope) / 2, (phi[:, None] - phi) / gap.masked_fill(near, 1.0))
        inside = vectors.T @ gradient @ vectors
        return vectors @ (divided * (inside + inside.T) / 2) @ vectors.T, None
