"""Strong augmentation: that of SimCLR (Chen et al., ICML 2020), without its blur and its change of hue."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from ...noise.views import Family
from ...noise.views.grey import Grey
from ...noise.views.jitter import Jitter
from ...noise.views.resized_crop import RATIO, Resampling, resample, weights
from .augment import Batch, Losses

AREA = (0.1, 1.0)  # of the image
_COLOURS: tuple[tuple[Family, float], ...] = ((Jitter(), 0.8), (Grey(), 0.2))  # each for a share of the images


def strong(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """A random part of each image, 10 to 100 % of it, at the size of the image; colours changed; some without colour.

    The view before it flips.
    """
    return changed_colours(random_part(images, generator), generator), shares


def random_part(images: Tensor, generator: Generator) -> Tensor:
    """A box of each of the float images (N, 3, H, W), 10 to 100 % of its area, at the size of the image."""
    height, width = images.shape[2:]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * _uniform(images, generator)

    area = uniform(*AREA) * height * width
    ratio = uniform(math.log(RATIO[0]), math.log(RATIO[1])).exp()
    tall, wide = (area / ratio).sqrt().clamp(2, height), (area * ratio).sqrt().clamp(2, width)
    top, left = uniform(0, 1) * (height - tall), uniform(0, 1) * (width - wide)
    return resample(images, Resampling(weights(top, tall, height, height), weights(left, wide, width, width)))


def changed_colours(images: Tensor, generator: Generator) -> Tensor:
    """The images in [0, 1] with changed brightness, contrast and saturation, most of them; some without colour."""
    seen = images
    for family, share in _COLOURS:
        changed, _ = family.apply(seen, family.draw(seen, generator))
        seen = torch.where(_uniform(seen, generator)[:, None, None, None] < share, changed, seen)
    return seen.clamp(0, 1)


def _uniform(images: Tensor, generator: Generator) -> Tensor:
    """Uniform in [0, 1), one for each image."""
    return torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
