"""Random countermeasures: applied to each training batch, drawn anew at every step, on its device."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...noise.views import Cutout

Batch = tuple[Tensor, Tensor]  # float images (N, 3, H, W) in [0, 1]; shares of the classes, float (N, classes)
Losses = Callable[[Tensor, Tensor], Tensor]  # of a batch, with the current network: float (N,)
Augment = Callable[[Tensor, Tensor, Generator, Losses], Batch]

_NOISE = 8 / 255
_TRIES = 5  # draws of UEraser; the one with the highest loss is used
_ERASED, _RATIO = (0.02, 0.33), (0.3, 3.3)  # shares of the image; width over height: torchvision's RandomErasing


def noise(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """Uniform in ±8/255, drawn anew for every picture and step."""
    draw = uniform(images.shape, images, generator)
    return (images + _NOISE * (2 * draw - 1)).clamp(0, 1), shares


def cutout(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """A grey square of half the image's side, its centre anywhere in the image."""
    seen, _ = Cutout().apply(images, Cutout().draw(images, generator))
    return seen, shares


def erasing(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """A box of 2 to 33 % of the image becomes random pixels, in half of the images."""
    n, _, height, width = images.shape
    area = _between(_ERASED, uniform((n,), images, generator)) * height * width
    ratio = _between((math.log(_RATIO[0]), math.log(_RATIO[1])), uniform((n,), images, generator)).exp()
    tall = (area / ratio).sqrt().round().clamp(max=height)
    wide = (area * ratio).sqrt().round().clamp(max=width)
    top = (uniform((n,), images, generator) * (height - tall + 1)).floor()
    left = (uniform((n,), images, generator) * (width - wide + 1)).floor()
    box = _box(images, top, top + tall, left, left + wide)
    chosen = uniform((n, 1, 1, 1), images, generator) < 0.5
    return torch.where(box & chosen, uniform(images.shape, images, generator), images), shares


def mixup(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """Every image blended with another, labels too; the share is uniform in [0, 1] (α = 1), one for the batch."""
    other = torch.randperm(len(images), generator=generator, device=images.device)
    share = uniform((), images, generator)
    return torch.lerp(images[other], images, share), torch.lerp(shares[other], shares, share)


def cutmix(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """A box of every image comes from another, labels by area (α = 1), one box for the batch."""
    _, _, height, width = images.shape
    other = torch.randperm(len(images), generator=generator, device=images.device)
    cut = (1 - uniform((), images, generator)).sqrt() / 2
    row, column = uniform((1,), images, generator) * height, uniform((1,), images, generator) * width
    box = _box(images[:1], row - cut * height, row + cut * height, column - cut * width, column + cut * width)
    kept = 1 - box.to(images.dtype).mean()
    return torch.where(box, images[other], images), torch.lerp(shares[other], shares, kept)


def ueraser(images: Tensor, shares: Tensor, generator: Generator, losses: Losses) -> Batch:
    """Plasma brightness and contrast, and in half of the images shuffled channels; of five draws the one with the
    highest loss of the current network.
    """
    return hardest(_plasma, images, shares, generator, losses), shares


def hardest(
    draw: Callable[[Tensor, Generator], Tensor], images: Tensor, shares: Tensor, generator: Generator, losses: Losses
) -> Tensor:
    """Of five draws of each image the one with the highest loss."""
    found, highest = images, torch.full((len(images),), -torch.inf, device=images.device)
    for _ in range(_TRIES):
        drawn = draw(images, generator)
        loss = losses(drawn, shares)
        harder = loss > highest
        found = torch.where(harder[:, None, None, None], drawn, found)
        highest = torch.where(harder, loss, highest)
    return found


def _plasma(images: Tensor, generator: Generator) -> Tensor:
    strength = uniform((len(images), 1, 1, 1), images, generator)
    brighter = (images + strength * (2 * clouds(images, generator) - 1)).clamp(0, 1)
    return shuffled_channels(((brighter - 0.5) * 4 * clouds(images, generator) + 0.5).clamp(0, 1), generator)


def shuffled_channels(images: Tensor, generator: Generator) -> Tensor:
    """The images, half of them with their channels in another order."""
    n = len(images)
    order = uniform((n, 3), images, generator).argsort(1)[:, :, None, None].expand_as(images)
    shuffled = uniform((n, 1, 1, 1), images, generator) < 0.5
    return torch.where(shuffled, images.gather(1, order), images)


def clouds(images: Tensor, generator: Generator) -> Tensor:
    """Fractal noise in [0, 1], float (N, 1, H, W): octaves of random grids, each weaker by the image's roughness."""
    n, _, height, width = images.shape
    roughness = _between((0.1, 0.7), uniform((n, 1, 1, 1), images, generator))
    total = images.new_zeros(n, 1, height, width)
    for octave in range(max(1, int(math.log2(min(height, width))))):
        side = 2 ** (octave + 1)
        grid = uniform((n, 1, side, side), images, generator)
        total += roughness**octave * F.interpolate(grid, (height, width), mode="bilinear", align_corners=True)
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return (total - low) / (high - low).clamp(min=1e-6)


def _box(images: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """True inside the boxes, bool (N, 1, H, W); a pixel is inside where its centre is."""
    _, _, height, width = images.shape
    row = torch.arange(height, device=images.device)[None] + 0.5
    column = torch.arange(width, device=images.device)[None] + 0.5
    rows = (row >= top[:, None]) & (row < bottom[:, None])
    columns = (column >= left[:, None]) & (column < right[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def uniform(shape: tuple[int, ...] | torch.Size, like: Tensor, generator: Generator) -> Tensor:
    """Uniform in [0, 1), of that shape, on the device and in the dtype of `like`."""
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share
