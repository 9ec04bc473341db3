"""UEraser-max as its authors' code has it (Qin et al. 2023, github.com/lafeat/ueraser): plasma brightness, plasma
contrast and shuffled channels, each for half of the images, then TrivialAugment (Müller and Hutter, ICCV 2021).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Generator, Tensor

from ...models import seeded
from .augment import Batch, Losses, clouds, hardest, shuffled_channels, uniform

TOGETHER = 4  # images that have one operation of TrivialAugment: one each would take three times as long


def ueraser_max(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """Of five draws the one with the highest loss of the current network."""
    return hardest(_drawn, images, shares, generator, losses), shares


def _drawn(images: Tensor, generator: Generator) -> Tensor:
    shape = len(images), 1, 1, 1
    strength = 0.5 + 0.5 * uniform(shape, images, generator)
    brighter = (images + strength * (2 * clouds(images, generator) - 1)).clamp(0, 1)
    seen = torch.where(uniform(shape, images, generator) < 0.5, brighter, images)
    contrasted = ((seen - 0.5) * 4 * clouds(seen, generator) + 0.5).clamp(0, 1)
    seen = torch.where(uniform(shape, images, generator) < 0.5, contrasted, seen)
    return trivial_augment(shuffled_channels(seen, generator), generator)


def trivial_augment(images: Tensor, generator: Generator) -> Tensor:
    """torchvision's TrivialAugmentWide of float images (N, 3, H, W) in [0, 1]: a random operation of random strength
    for every four images. It works on uint8, so it rounds.

    torchvision draws from torch's global numbers; here their state is decided by `generator`, and put back.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=images.device))
    pixels = (images * 255).round().to(torch.uint8)
    with seeded(seed):
        seen = torch.cat([_trivial()(few) for few in torch.split(pixels, TOGETHER)])
    return seen.to(images.dtype) / 255


@functools.cache
def _trivial() -> Callable[[Tensor], Tensor]:
    from torchvision.transforms.v2 import TrivialAugmentWide

    return cast(Callable[[Tensor], Tensor], TrivialAugmentWide())
