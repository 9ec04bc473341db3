"""Features of images that nobody has said anything about: of torchvision's ResNet-18, or learnt from them.

On 5,000 images of CIFAR-10 `patches` takes 9 seconds of one core, and k-means finds more of the classes in its features
than in those of a small network trained for 34 by Barlow Twins or VICReg, or for 147 by SimCLR.
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
PHOTO = 224  # pixels a side that its weights are used to
AT_ONCE = 200  # images


def make_features(runtime: Runtime, images: Tensor, seed: int, steps: int, progress: Progress) -> tuple[Tensor, str]:
    """Features, float (N, at most WIDTH) on the CPU, of uint8 images (N, 3, H, W), and in words where they come from.

    `runtime.remark` is told why if they are not torchvision's.
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
    words = f"patches of these images and a discriminant of their views, learnt in {steps} steps"
    return features(runtime, network, images, advance), words


def pretrained(runtime: Runtime, seed: int) -> Callable[[Tensor], Tensor]:
    """Uint8 images to the penultimate features of ResNet-18, (N, 512).

    Raises `SettingError` where its weights are not in torchvision's cache.
    """
    model = build_from(read_weights(PRETRAINED), "resnet18", 2, (PHOTO, PHOTO), seed)
    model.set_submodule(head(model)[0], nn.Identity())
    frozen, view = runtime.frozen(runtime.place(model)), Whole(PHOTO)

    def network(images: Tensor) -> Tensor:
        pixels = images.float() / 255
        return frozen(view.apply(pixels, view.centre(pixels)))

    return network


def features(
    runtime: Runtime, network: Callable[[Tensor], Tensor], images: Tensor, advance: Callable[[int], None]
) -> Tensor:
    """What the network makes of all images, on the CPU; `advance(images)` follows every batch."""
    found = []
    for part in torch.split(images, AT_ONCE):
        found.append(network(part.to(runtime.device)).cpu())
        advance(len(part))
    return torch.cat(found)


def whitened(found: Tensor) -> Tensor:
    """The first principal components (N, at most WIDTH), each of unit variance."""
    centred = found - found.mean(0)
    values, vectors = torch.linalg.eigh((centred.mT @ centred / len(found)).double())
    kept = trusted(WIDTH, len(found))
    return centred @ whitening(values[-kept:], vectors[:, -kept:]).float()


def progress_counter(progress: Progress, total: int) -> Callable[[int], None]:
    """What counts images up to `total` and tells of them."""
    done, now = 0, Throttle()

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if now(done == total):
            progress(Event("groups", done, total, "images"))

    return advance
