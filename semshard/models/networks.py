"""Networks by name, with the stem that suits the image size. All take pixels in [0, 1] and subtract 0.5.

torchvision's are used where it has them. For small images (CIFAR's 32 × 32) the stems that shrink an ImageNet picture
to a quarter are replaced by a 3 × 3 convolution without pooling (He et al. 2016, section 4.2; the same for DenseNet),
and VGG's three wide layers by one, as is usual for CIFAR.

The networks whose names end in -paper are those of the SEM paper's authors, whose code (after that of Fu et al. 2022)
does otherwise: ResNet-18 keeps the 3 × 3 stem without pooling for photographs too, at 15 times the operations;
DenseNet-121 shrinks small images to a quarter; VGG-16 has two more layers with dropout; WRN-34-10 has the blocks of
He et al. 2016, with batch norm in the shortcuts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..settings import LARGE, NETWORKS
from .dropout import Dropout
from .resnet9 import ResNet9
from .seeded import seeded
from .small import SmallNet
from .weights import Numbers, Weights, fit
from .wide import PostActivatedWide, WideResNet

Size = tuple[int, int]
PHOTO = 224  # pixels per side of what torchvision's weights were trained on
_VIT_PATCH = 16  # ViT-B/16 sees 196 patches of an image of 224 pixels
_VIT_PATCHES = 8  # per side of a small image
_DENSENET_LEAST = 29  # pixels a side that its five halvings leave one of


class Centred(nn.Module):
    """A network that takes pixels in [0, 1] and passes on pixel − 0.5."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images - 0.5)
        return logits


class Normalised(nn.Module):
    """A network that takes pixels in [0, 1] and passes on (pixel − mean) / std, as its weights need."""

    mean: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, mean: Numbers, std: Numbers) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net((images - self.mean) * self.scale)
        return logits


def build(name: str, classes: int, size: Size, seed: int) -> nn.Module:
    """The network `name` for images of `size` (height, width), float32, weights drawn from `seed` alone.

    Raises `SettingError` where the network cannot take images of that size.
    """
    with seeded(seed):
        return Centred(_BUILDERS[name](classes, size))


def build_from(weights: Weights, name: str, classes: int, size: Size, seed: int) -> nn.Module:
    """The network `name` with `weights` and a new head, drawn from `seed`; with the stem that the weights have.

    Raises `SettingError` where they are those of another network.
    """
    problem = ""
    for stem in dict.fromkeys((size, (PHOTO, PHOTO) if name != "vit" else size)):
        with seeded(seed):
            net = _BUILDERS[name](classes, stem)
        misfit = fit(net, weights)
        if not misfit:
            return Normalised(net, weights.mean, weights.std)
        problem = problem or misfit
    raise SettingError(f"{weights.name} has no weights of {name} for {size[1]} × {size[0]} pixels: {problem}")


def _small(size: Size) -> bool:
    return max(size) <= LARGE


def _stem(channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _resnet(name: str, small: Callable[[Size], bool] = _small) -> Callable[[int, Size], nn.Module]:
    def builder(classes: int, size: Size) -> nn.Module:
        from torchvision import models

        net = getattr(models, name)(num_classes=classes)
        if small(size):
            net.conv1, net.maxpool = _stem(64), nn.Identity()
        return cast(nn.Module, net)

    return builder


def _vgg16(classes: int, size: Size) -> nn.Module:
    from torchvision.models import vgg16_bn

    net = vgg16_bn(num_classes=classes, dropout=0.0)  # dropout would draw from global state
    if _small(size):
        net.avgpool, net.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)
    if min(size) < 32:  # five halvings would leave nothing
        net.features[-1] = nn.Identity()
    return cast(nn.Module, net)


def _vgg16_paper(classes: int, size: Size) -> nn.Module:
    net = _vgg16(classes, size)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Sequential(
        Dropout(), nn.Linear(512, 512), nn.ReLU(), Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, classes)
    )
    return net


def _densenet121_paper(classes: int, size: Size) -> nn.Module:
    from torchvision.models import densenet121

    if min(size) < _DENSENET_LEAST:
        raise SettingError(f"densenet121-paper takes images of {_DENSENET_LEAST} pixels a side or more")
    return cast(nn.Module, densenet121(num_classes=classes))


def _densenet121(classes: int, size: Size) -> nn.Module:
    from torchvision.models import densenet121

    net = densenet121(num_classes=classes)
    if _small(size):
        net.features.conv0, net.features.pool0 = _stem(64), nn.Identity()
    return cast(nn.Module, net)


def _resnet9(classes: int, size: Size) -> nn.Module:
    return ResNet9(classes, stride=1 if _small(size) else max(size) // 32)


def _wide(classes: int, size: Size) -> nn.Module:
    return WideResNet(classes, depth=34, width=10, stride=1 if _small(size) else max(size) // 32)


def _wide_paper(classes: int, size: Size) -> nn.Module:
    return PostActivatedWide(classes, depth=34, width=10, stride=1 if _small(size) else max(size) // 32)


def _vit(classes: int, size: Size) -> nn.Module:
    """ViT-B with patches of 16 pixels; smaller ones for small images, so that about 8 × 8 of them remain."""
    from torchvision.models import VisionTransformer

    side = size[0]
    patch = 2 ** round(math.log2(max(1, side / _VIT_PATCHES))) if _small(size) else _VIT_PATCH
    if size[0] != size[1] or side % patch:
        raise SettingError(f"vit takes square images whose side is a multiple of {patch}; {size[1]} × {size[0]} is not")
    return cast(nn.Module, VisionTransformer(side, patch, 12, 12, 768, 3072, num_classes=classes))


_BUILDERS: dict[str, Callable[[int, Size], nn.Module]] = {
    "resnet18": _resnet("resnet18"),
    "resnet50": _resnet("resnet50"),
    "vgg16": _vgg16,
    "densenet121": _densenet121,
    "wrn34-10": _wide,
    "vit": _vit,
    "small": SmallNet,
    "resnet9": _resnet9,
    "resnet18-paper": _resnet("resnet18", lambda size: True),
    "vgg16-paper": _vgg16_paper,
    "densenet121-paper": _densenet121_paper,
    "wrn34-10-paper": _wide_paper,
}
assert set(_BUILDERS) == set(NETWORKS)
