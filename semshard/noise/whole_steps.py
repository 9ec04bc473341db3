"""Signed descent in the L∞ ball on whole numbers: pixels as int16, in equal steps finer than a grey level.

A signed step changes every value by the same amount, so whole numbers lose nothing; and a photograph that is crafted at
its own resolution has so many values that reading and writing them costs as much as the small network. int16 takes half
the bytes of float32, and a CPU adds 32 of them per instruction. One step reads and writes 18 bytes per value: the
gradient (2 + 2), the pixels with it (2 + 2 + 2), the pixels with their bounds (2 + 2 + 2 + 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..settings import levels

MOST = 2**15 - 1
MOST_ALPHA = 3000  # see `descend`


@dataclass(frozen=True)
class WholeSteps:
    """`level` steps make a grey level, an even number; `alpha` and `rho` are the step size and the radius in steps."""

    level: int
    alpha: int
    rho: int

    @classmethod
    def of(cls, rho: float, alpha: float) -> WholeSteps:
        """As fine as int16 allows where a pixel moves by alpha or rho before it is clipped, and as `descend` allows.

        Of the finer half of the choices it is the one in which alpha is nearest to a whole number of steps.
        """
        most = int(min(MOST / (127.5 + 255 * max(rho, alpha)), MOST_ALPHA / (255 * alpha))) // 2
        halves = range(most, most // 2, -1)
        level = 2 * min(halves, key=lambda half: round(abs(510 * half * alpha - round(510 * half * alpha)), 6))
        return cls(level, max(1, round(level * 255 * alpha)), int(level * 255 * rho + 1e-6))

    @property
    def unit(self) -> float:
        """A step, where pixels are in [0, 1]."""
        return 1 / (255 * self.level)

    def pixels(self, images: Tensor) -> Tensor:
        """int16 values of uint8 images, 0 in the middle between black and white."""
        return images.to(torch.int16).mul_(self.level).sub_(self._white)

    def bounds(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and highest int16 values in the ball around `pixels` and between black and white."""
        low, high = pixels - self.rho, pixels + self.rho
        return low.clamp_(min=-self._white), high.clamp_(max=self._white)

    def start(self, pixels: Tensor, random: np.random.Generator) -> Tensor:
        """`pixels` plus a perturbation that is one of 256 equally spaced values in ±rho, each as likely."""
        words = random.bit_generator.random_raw(-(-pixels.numel() // 8))
        drawn = torch.from_numpy(words.view(np.int8)[: pixels.numel()]).to(pixels.device).view(pixels.shape)
        return pixels.add(drawn.to(torch.int16).mul_(max(1, self.rho // 128)))

    def descend(self, pixels: Tensor, gradient: Tensor, low: Tensor, high: Tensor) -> None:
        """Move `pixels` by alpha against the sign of a float `gradient`, which may be overwritten, within the bounds.

        A bfloat16 number read as int16 has its sign, and unless it is 0 is farther from 0 than any alpha: what lies
        between are numbers below 10⁻³⁰ and above 10³⁰. Clipping it therefore gives the signed step. No −0 may occur.
        """
        step = gradient.to(torch.bfloat16).view(torch.int16).clamp_(-self.alpha, self.alpha)
        torch.clamp(pixels.sub_(step), low, high, out=pixels)

    def noise(self, pixels: Tensor, clean: Tensor, rho: float) -> Tensor:
        """What `pixels` are above the `clean` ones: int8 grey levels, none above the budget."""
        most = levels(rho)
        return pixels.sub(clean).float().div_(self.level).round_().clamp_(-most, most).to(torch.int8)

    @property
    def _white(self) -> int:
        return self.level // 2 * 255
