"""Defensive noise for images by a folded network (Algorithm 1, lines 2–9; Eqs. 6 and 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine import FoldedNetwork
from ..engine.captured import on_gpu
from ..engine.runtime import ALL_DRAWS
from ..settings import ProtectConfig
from .adversary import inner_perturbation
from .ball import pgd, uniform
from .views import View


@dataclass(frozen=True)
class NoiseCrafter:
    """Crafts δᵘ by K_u signed steps down the expected gradient of a network's loss."""

    network: FoldedNetwork
    view: View  # of the noise step
    config: ProtectConfig
    draws_together: int = ALL_DRAWS  # of the J draws, how many go through the network at once, at most

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        grey: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """δᵘ for float images (N, 3, H, W) in [0, 1] and int64 labels (N,), or shares of the classes, float
        (N, classes): float, the shape of the images, |δᵘ| ≤ rho_u.

        It begins at `start`, of the images' shape, or at a random perturbation. Where bool `grey` (N, 1, 1, 1) is true,
        it is the same in all channels.
        """
        config = self.config
        start = uniform(images, config.rho_u, generator) if start is None else start
        return pgd(
            lambda delta: _equal_channels(self.expected_gradient(images + delta, labels, generator), grey),
            images,
            _equal_channels(start, grey),
            rho=config.rho_u,
            alpha=config.alpha_u,
            steps=config.steps_u,
            direction="minimise",
        )

    def expected_gradient(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """The gradient of the loss of t(x) + δ at float images x (N, 3, H, W), summed over J draws of the view t and
        of the inner perturbation δ of the noise step: random in Eq. 10, adversarial in Eq. 6, or none (float32 sums).
        """
        config, view, network = self.config, self.view, self.network
        perturbation = inner_perturbation(config.noise_step, config)
        total = torch.zeros_like(images)
        for first in range(0, config.draws, self.draws_together):
            views, seen, starts = [], [], []
            count = min(self.draws_together, config.draws - first)
            copies = [count] if on_gpu(images.device) else [1] * count  # of the images that a view sees in one call
            for each in copies:
                given = images if each == 1 else images.repeat(each, 1, 1, 1)
                views.append(view.draw(given, generator))
                seen.append(view.apply(given, views[-1]))
                starts.append(perturbation.start(seen[-1], generator))
            together, repeated = torch.cat(seen), torch.cat([labels] * count)
            perturbed = together + perturbation.ascend(network, together, repeated, torch.cat(starts))
            gradient = network.gradient(perturbed.clamp(0, 1), repeated)
            gradient *= (perturbed >= 0) & (perturbed <= 1)  # clipped pixels have none
            parts = torch.split(gradient, [each * len(images) for each in copies])
            for drawn, part, each in zip(views, parts, copies, strict=True):
                back = view.adjoint(part, drawn)
                total += back if each == 1 else back.view(each, *images.shape).sum(0)
        return total


def grey_images(images: Tensor) -> Tensor:
    """Which of images (N, 3, H, W) have three equal channels: bool (N, 1, 1, 1)."""
    return (images == images[:, :1]).all(3, keepdim=True).all(2, keepdim=True).all(1, keepdim=True)


def _equal_channels(values: Tensor, grey: Tensor | None) -> Tensor:
    return values if grey is None else torch.where(grey, values.mean(1, keepdim=True), values)


def add(images: Tensor, noise: Tensor) -> Tensor:
    """uint8 images plus int8 noise in grey levels, clipped to 0..255: the protected uint8 images."""
    return (images.to(torch.int16) + noise).clamp_(0, 255).to(torch.uint8)
