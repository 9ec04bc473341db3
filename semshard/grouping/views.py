"""Views of an image that show the same object: a random square of it, mirrored or not, in other colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..noise.views.resized_crop import box_resampling, resample

AREA = 0.5  # of the image, that a view shows at least
FACTOR = 0.4  # by how much brightness, contrast and saturation change at most
HUE = 0.2 * math.pi  # by which angle it turns at most
GREY = 0.2  # share of the views that have no colour


def draw_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """A view of each image, of the size of the image: float (N, 3, H, W) in [0, 1]."""
    n, (height, width) = len(images), images.shape[2:]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, device=images.device)

    side = uniform(AREA, 1).sqrt()
    box = uniform(0, 1) * (1 - side) * height, uniform(0, 1) * (1 - side) * width, side * height, side * width
    view = resample(images, box_resampling(box, uniform(0, 1) < 0.5, (height, width), height))
    brightness, contrast, saturation = (uniform(1 - FACTOR, 1 + FACTOR) for _ in range(3))
    saturation = torch.where(uniform(0, 1) < GREY, 0, saturation)
    return recolour(view, brightness, contrast, saturation, uniform(-HUE, HUE))


def recolour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Images (N, 3, H, W) with these factors and the hue turned by an angle, each (N,)."""
    brightness, contrast, saturation, hue = (x.view(-1, 1, 1, 1) for x in (brightness, contrast, saturation, hue))
    images = images * brightness
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = images.mean(1, keepdim=True)
    colour = images - grey
    across = (colour.roll(1, 1) - colour.roll(2, 1)) / math.sqrt(3)  # a quarter turn about the grey axis
    return (grey + (colour * hue.cos() + across * hue.sin()) * saturation).clamp(0, 1)
