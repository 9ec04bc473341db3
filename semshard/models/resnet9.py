"""A residual network of nine layers, between the small one and ResNet-18, for CPUs with time.

Four 3 × 3 convolutions of widths 32, 64, 128 and 256, the last three followed by max-pooling, a residual block behind
the second and the fourth, the maximum over all positions, a linear head: the shape of D. Page's network for fast
training (2018, "How to train your ResNet"), at half its widths. 95 M multiply-adds (0.19 GFLOP) for a 32 × 32 image.
"""

from __future__ import annotations

from torch import Tensor, nn

from .small import Block

WIDTHS = (32, 64, 128, 256)


class ResNet9(nn.Module):
    """Float images (N, 3, H, W), H and W at least 8 times the stride, to class scores (N, classes).

    `stride` is that of the first convolution: 1 for 32 × 32, more for larger images, whose every pixel it still sees.
    """

    def __init__(self, classes: int, stride: int = 1) -> None:
        super().__init__()
        side, pad = (3, 1) if stride == 1 else (2 * stride, stride // 2)
        self.stem = _plain(3, WIDTHS[0], side, stride, pad)
        self.layer1 = nn.Sequential(_pooled(WIDTHS[0], WIDTHS[1]), Block(WIDTHS[1], WIDTHS[1], 1))
        self.layer2 = _pooled(WIDTHS[1], WIDTHS[2])
        self.layer3 = nn.Sequential(_pooled(WIDTHS[2], WIDTHS[3]), Block(WIDTHS[3], WIDTHS[3], 1))
        self.head = nn.Linear(WIDTHS[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        scores: Tensor = self.head(x.amax((2, 3)))
        return scores


def _plain(inputs: int, outputs: int, side: int = 3, stride: int = 1, pad: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, side, stride, pad, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_plain(inputs, outputs), nn.MaxPool2d(2))
