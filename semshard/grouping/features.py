"""Features of images without labels: of torchvision's ResNet-18, or learnt from the images themselves.

On 5,000 images of CIFAR-10 `patches` takes 9 seconds of one core, and k-means recovers more of the classes from its
features than from those of a small network trained for 34 seconds by Barlow Twins or VICReg, or for 147 by SimCLR.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..engine import Runtime
from ..errors import SettingError
from ..models import build_from, head, read_weights
from ..noise.views import Whole
from ..progress import Event, Progress, Throttle
from .patches import BATCH, WIDTH, learn, trusted, whitening

PRETRAINED = "ResNet18_Weights.IMAGENET1K_V1"
PHOTO = 224  # pixels per side that its weights were trained on
AT_ONCE = 200  # images


def make_features(runtime: Runtime, images: Tensor, seed: int, steps: int, progress: Progress) -> tuple[Tensor, str]:
    """Features, float (N, at most WIDTH) on the CPU, of uint8 images (N, 3, H, W), and their origin as text.

    `runtime.remark` gets the reason where they are not torchvision's.
    """
    try:
        network = pretrained(runtime, seed)
    except SettingError as missing:
        runtime.remark(f"groups: {missing}")
    else:
        advance = progress_counter(progress, len(images))
        return whitened(features(runtime, network, images, advance)), f"{PRETRAINED} of torchvision's cache"
    advance = progress_counter(progress, steps * BATCH + len(images))
    network = learn(runtime, images, seed, steps, advance)
    origin = f"patches of these images and a discriminant of their views, learnt in {steps} steps"
    return features(runtime, network, images, advance), origin


def pretrained(runtime: Runtime, seed: int) -> Callable[[Tensor], Tensor]:
    """Uint8 images to the penultimate features of ResNet-18, (N, 512).

    Raises `SettingError` where its weights are not in torchvision's cache.
    """
    model = build_from(read_weights(PRETRAINED), "resnet18", 2, (PHOTO, PHOTO), seed)
    model.set_submodule(head(model)[0], nn.Identity())
    folded, view = runtime.folded(runtime.place(model)), Whole(PHOTO)

    def network(images: Tensor) -> Tensor:
        pixels = images.float() / 255
        return folded(view.apply(pixels, view.centre(pixels)))

    return network


def features(
    runtime: Runtime, network: Callable[[Tensor], Tensor], images: Tensor, advance: Callable[[int], None]
) -> Tensor:
    """What the network returns for all images, on the CPU; `advance(images)` follows every batch."""
    parts = []
    for part in torch.split(images, AT_ONCE):
        parts.append(network(part.to(runtime.device)).cpu())
        advance(len(part))
    return torch.cat(parts)


def whitened(points: Tensor) -> Tensor:
    """The first principal components (N, at most WIDTH), each of unit variance."""
    centred = points - points.mean(0)
    values, vectors = torch.linalg.eigh((centred.mT @ centred / len(points)).double())
    kept = trusted(WIDTH, len(points))
    return centred @ whitening(values[-kept:], vectors[:, -kept:]).float()


def progress_counter(progress: Progress, total: int) -> Callable[[int], None]:
    """A function that counts images up to `total` and reports the progress."""
    done, throttle = 0, Throttle()

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if throttle(done == total):
            progress(Event("groups", done, total, "images"))

    return advance
