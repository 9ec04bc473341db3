"""Wide residual networks: as published, with pre-activation (Zagoruyko and Komodakis 2016), which torchvision has for
ImageNet only; and as the SEM paper's authors build them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from .small import Block


class PreActivated(nn.Module):
    """Norm, ReLU, convolution, twice; the shortcut starts behind the first ReLU where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        added: Tensor = self.conv2(F.relu(self.norm2(self.conv1(y)))) + shortcut
        return added


class WideResNet(nn.Module):
    """Float images (N, 3, H, W) to class scores (N, classes): three stages of (depth − 4) / 6 blocks.

    `stride` is that of the first convolution: 1 for 32 × 32, more for larger images, whose every pixel it still sees.
    """

    def __init__(self, classes: int, depth: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stem = _stem(stride)
        self.blocks = nn.Sequential(*(PreActivated(*each) for each in _blocks(depth, width)))
        self.norm = nn.BatchNorm2d(64 * width)
        self.head = nn.Linear(64 * width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.blocks(self.stem(x))))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


class PostActivatedWide(nn.Module):
    """The same stages of blocks that end in a ReLU, with batch norm behind every convolution, the shortcuts' too."""

    def __init__(self, classes: int, depth: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stem, self.norm = _stem(stride), nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(*(Block(*each) for each in _blocks(depth, width)))
        self.head = nn.Linear(64 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores


def _stem(stride: int) -> nn.Conv2d:
    side, pad = (3, 1) if stride == 1 else (2 * stride, stride // 2)
    return nn.Conv2d(3, 16, side, stride, pad, bias=False)


def _blocks(depth: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Inputs, outputs and stride of each block of the three stages."""
    widths = [16, 16 * width, 32 * width, 64 * width]
    for stage in range(3):
        for number in range((depth - 4) // 6):
            inputs = widths[stage] if number == 0 else widths[stage + 1]
            yield inputs, widths[stage + 1], 2 if stage and number == 0 else 1
