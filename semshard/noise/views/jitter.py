"""Colour jitter: brightness, contrast and saturation, as in torchvision's ColorJitter, which also clips."""

from __future__ import annotations

import torch
from torch import Tensor

from .grey import luma, luma_adjoint

STRENGTH = 0.4  # each factor is uniform in 1 ± this

Factors = tuple[Tensor, Tensor, Tensor]  # of brightness, contrast, saturation; each (N, 1, 1, 1)


class Jitter:
    """x · brightness, then away from its mean luma by contrast, then away from its luma by saturation, then clipped."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Factors:
        shape = 3, len(images), 1, 1, 1
        draw = torch.rand(shape, generator=generator, device=images.device, dtype=images.dtype)
        brightness, contrast, saturation = 1 + STRENGTH * (2 * draw - 1)
        return brightness, contrast, saturation

    def apply(self, images: Tensor, params: Factors) -> tuple[Tensor, Tensor]:
        """The jittered images, and where they were not clipped, bool (N, 3, H, W)."""
        brightness, contrast, saturation = params
        seen = images * brightness
        mean = luma(seen).mean((2, 3), keepdim=True)
        seen = torch.lerp(mean.expand_as(seen), seen, contrast)
        seen = torch.lerp(luma(seen).expand_as(seen), seen, saturation)
        return seen.clamp(0, 1), (seen >= 0) & (seen <= 1)

    def adjoint(self, gradient: Tensor, params: Factors, saved: Tensor) -> Tensor:
        brightness, contrast, saturation = params
        gradient = gradient * saved
        gradient = saturation * gradient + luma_adjoint((1 - saturation) * gradient.sum(1, keepdim=True))
        mean = gradient.sum(1, keepdim=True).mean((2, 3), keepdim=True).expand_as(gradient[:, :1])
        return brightness * (contrast * gradient + luma_adjoint((1 - contrast) * mean))
