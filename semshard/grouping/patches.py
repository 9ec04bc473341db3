"""A small network that learns from the images themselves how they differ, without backpropagation.

filters     patches drawn from the images, whitened (Coates, Ng and Lee 2011; drawn patches for their centroids)
pooling     both signs rectified, averaged over the quarters of the image, square root
last layer  Fisher's discriminant with every image a class of its own: the directions in which two views of an
            image differ least, compared with two images; solved from two covariances
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine import Runtime, batch_numbers, permutation
from ..noise.views import Whole
from .views import draw_view

BATCH = 128
LEARN_FROM = 20_000  # images, at most
SIDE = 48  # pixels per side that the network sees, at most
FILTERS, PATCH, STRIDE = 192, 6, 2
DRAW_FROM, DRAWN = 2_000, 40_000  # images, and patches of them that the whitening is computed of
FLAT = (10 / 255) ** 2  # variance of a patch below which its contrast is noise
WHITEN = 0.1  # added to the variances of patches
THRESHOLD = 1.0  # of a filter's response
PART = 16  # images whose maps fit into a CPU's cache
POOLED = 2 * 4 * FILTERS  # signs, quarters
KEPT = 256  # principal directions that the last layer is solved in, at most
WIDTH = 128  # features, at most
TRUST = 1.01  # above 1, so that no direction counts as fully invariant


@dataclass(frozen=True)
class Filters:
    """Contrast-normalised patches · weight + bias, rectified and pooled."""

    weight: Tensor  # (FILTERS, 3, PATCH, PATCH)
    bias: Tensor  # (FILTERS,)

    def __call__(self, images: Tensor) -> Tensor:
        """Float images (N, 3, H, W) to (N, POOLED)."""
        return torch.cat([self._pooled(part) for part in torch.split(images, PART)])

    def _pooled(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        mean, square = (F.avg_pool2d(x.mean(1, keepdim=True), PATCH, STRIDE) for x in (images, images.square()))
        contrast = ((square - mean.square()).clamp(min=0) + FLAT).rsqrt()
        response = F.conv2d(images, self.weight, stride=STRIDE).mul_(contrast).add_(self.bias.view(1, -1, 1, 1))
        signs = [F.adaptive_avg_pool2d(x.relu_(), 2) for x in (response - THRESHOLD, -THRESHOLD - response)]
        return torch.cat(signs, 1).flatten(1).sqrt()


@dataclass(frozen=True)
class PatchNet:
    """The whole network: uint8 images (N, 3, H, W) to features (N, at most WIDTH)."""

    filters: Filters
    mean: Tensor
    projection: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        seen = small(images)
        return ((self.filters(seen) + self.filters(seen.flip(3))) / 2 - self.mean) @ self.projection


def learn(runtime: Runtime, images: Tensor, seed: int, steps: int, advance: Callable[[int], None]) -> PatchNet:
    """The network for uint8 images (N, 3, H, W), from `steps` batches of them, each in two views.

    `advance(BATCH)` follows every step.
    """
    sample = permutation(len(images), seed, "groups")[:LEARN_FROM]
    seen = torch.cat([small(images[part]) for part in torch.split(sample[:DRAW_FROM], BATCH)])
    filters = draw_filters(runtime, seen, seed)
    total = torch.zeros(POOLED, POOLED, device=runtime.device)
    within, mean, first = total.clone(), total.new_zeros(POOLED), total.new_zeros(POOLED)
    for step in range(steps):
        generator = runtime.generator(seed, "groups", step)
        batch = small(images[sample[batch_numbers(len(sample), BATCH, seed, step)]].to(runtime.device))
        one, other = (filters(draw_view(batch, generator)) - first for _ in range(2))
        if not step:  # sums of differences from about the mean keep their digits in float32
            first = one.mean(0)
            one, other = one - first, other - first
        both, difference = torch.cat([one, other]), one - other
        mean += both.mean(0) / steps
        total.addmm_(both.mT, both, alpha=1 / (len(both) * steps))
        within.addmm_(difference.mT, difference, alpha=1 / (len(both) * steps))
        advance(BATCH)
    projection = discriminant((total - mean.outer(mean)).double(), within.double(), trusted(KEPT, len(images)))
    return PatchNet(filters, first + mean, projection.float())


def small(images: Tensor) -> Tensor:
    """Uint8 images as the network sees them: float in [0, 1], not above SIDE."""
    images = images.float() / 255
    view = Whole(SIDE if max(images.shape[2:]) > SIDE else 0)
    return view.apply(images, view.centre(images))


def draw_filters(runtime: Runtime, images: Tensor, seed: int) -> Filters:
    """FILTERS patches of float images (N, 3, H, W) and the whitening W of DRAWN of them, in one convolution.

    A patch p is seen as n = (p − its mean) / contrast, and its response to a drawn n′ is W(n − μ) · W(n′ − μ), the
    second of unit length.
    """
    patches = normalised(draw_patches(images, Runtime(torch.device("cpu"), "float32").generator(seed, "groups")))
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).mT @ (patches - mean) / DRAWN)
    whiten = vectors / (values + WHITEN).sqrt() @ vectors.mT
    weight = F.normalize((patches[:FILTERS] - mean) @ whiten) @ whiten
    bias = -weight @ mean
    weight = (weight - weight.mean(1, keepdim=True)).view(FILTERS, 3, PATCH, PATCH)  # subtracts a patch's mean
    shaped = weight.float().contiguous(memory_format=torch.channels_last)
    return Filters(shaped.to(runtime.device), bias.float().to(runtime.device))


def draw_patches(images: Tensor, generator: torch.Generator) -> Tensor:
    """DRAWN patches from anywhere in the images: (DRAWN, 3 · PATCH · PATCH)."""
    number = torch.randint(len(images), (DRAWN,), generator=generator)
    row, column = (torch.randint(size - PATCH + 1, (DRAWN,), generator=generator) for size in images.shape[2:])
    reach = torch.arange(PATCH)
    rows, columns = (row[:, None] + reach)[:, None, :, None], (column[:, None] + reach)[:, None, None, :]
    return images[number[:, None, None, None], torch.arange(3)[:, None, None], rows, columns].flatten(1)


def normalised(patches: Tensor) -> Tensor:
    """Patches without their mean, at unit contrast, float64."""
    patches = patches.double() - patches.double().mean(1, keepdim=True)
    return patches / (patches.square().mean(1, keepdim=True) + FLAT).sqrt()


def discriminant(total: Tensor, within: Tensor, kept: int) -> Tensor:
    """The projection (D, d), d at most WIDTH, from the covariances of all views and of the views of one image.

    Of the variance in a direction that whitens `total`, a share ρ lies between images. The direction is given the
    variance ρ / (1 − ρ): the difference between images, relative to that within one.
    """
    values, vectors = torch.linalg.eigh(total)
    basis = whitening(values[-kept:], vectors[:, -kept:])
    share, turned = torch.linalg.eigh(basis.mT @ (total - within) @ basis)
    share, turned = share[-WIDTH:].clamp(0, 1), turned[:, -WIDTH:]
    projection: Tensor = basis @ turned * (share / (TRUST - share)).sqrt()
    return projection


def trusted(most: int, images: int) -> int:
    """How many principal directions to whiten: with as many as images, all would be equally far from each other."""
    return max(2, min(most, images // 2))


def whitening(values: Tensor, vectors: Tensor) -> Tensor:
    """Principal directions (D, d) divided by their spread; those in which nothing varies, as of flat images, are 0."""
    varies = values > 1e-6 * values[-1].clamp(min=1e-6)
    return vectors * torch.where(varies, values.clamp(min=1e-12).rsqrt(), 0)
