"""The whole image, as it is or resized to a square: for noise that is made without views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .resized_crop import Resampling, resample, restore, weights


@dataclass(frozen=True)
class Whole:
    """Nothing random. `side` is that of the square that a network needs, 0 where it takes any size."""

    side: int = 0

    def on(self, sizes: Tensor | None) -> Whole:
        return self

    def draw(self, images: Tensor, generator: torch.Generator) -> Resampling | None:
        return self.centre(images)

    def centre(self, images: Tensor) -> Resampling | None:
        if not self.side:
            return None
        zero = images.new_zeros(1)
        return Resampling(*(weights(zero, zero + length, length, self.side) for length in images.shape[2:]))

    def apply(self, images: Tensor, params: Resampling | None) -> Tensor:
        return resample(images, params) if params else images

    def adjoint(self, gradient: Tensor, params: Resampling | None) -> Tensor:
        return restore(gradient, params) if params else gradient
