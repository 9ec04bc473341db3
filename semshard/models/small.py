"""A residual network small enough that two CPU cores train it adversarially in a minute.

A strided stem reduces any image to about 16 × 16 positions at once, where wide bfloat16 convolutions are cheap; three
residual blocks of widths 32, 64, 128 follow. 12 M multiply-adds for a 32 × 32 image.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (32, 64, 128)


class Block(nn.Module):
    """Two 3×3 convolutions with a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class SmallNet(nn.Module):
    """Float images (N, 3, H, W), H and W at least 8, to class scores (N, classes)."""

    def __init__(self, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        stride = 2
        while min(size) >= 32 * stride:
            stride *= 2
        self.stem = nn.Conv2d(3, WIDTHS[0], 2 * stride, stride, stride // 2, bias=False)
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        self.block1 = Block(WIDTHS[0], WIDTHS[0], 1)
        self.block2 = Block(WIDTHS[0], WIDTHS[1], 2)
        self.block3 = Block(WIDTHS[1], WIDTHS[2], 2)
        self.head = nn.Linear(WIDTHS[2], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x)))
        x = self.block3(self.block2(self.block1(x)))
        scores: Tensor = self.head(x.mean((2, 3)))
        return scores
