"""Networks by name, with the stem that the image size asks for. All take pixels in [0, 1] and subtract 0.5."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..config import LARGE
from .small import SmallNet

NETWORKS = ("resnet18", "small")


class Centred(nn.Module):
    """A network that takes pixels in [0, 1] and hands them on as pixel − 0.5."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images - 0.5)
        return logits


def build(name: str, classes: int, size: tuple[int, int], seed: int) -> nn.Module:
    """The network `name` for images of `size` (height, width), float32, weights drawn from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Centred(_BUILDERS[name](classes, size))


def _resnet18(classes: int, size: tuple[int, int]) -> nn.Module:
    from torchvision.models import resnet18

    net = resnet18(num_classes=classes)
    if max(size) <= LARGE:  # He et al. 2016, section 4.2: 3×3 stem, no pooling
        net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    return cast(nn.Module, net)


_BUILDERS = {"resnet18": _resnet18, "small": SmallNet}
