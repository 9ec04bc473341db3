"""Kernels packed for oneDNN, and the input gradient of a strided convolution as a plain convolution with one of them.

The operators are private ones of torch; `fused` compares them with torch's own before they are used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Operators:
    """Private operators of torch, which all take and give tensors in the memory layout channels_last."""

    pack: Callable[..., Tensor]  # a weight in the layout that oneDNN chooses for one shape of input
    convolve: Callable[..., Tensor]  # a convolution, perhaps followed by a ReLU
    convolve_add: Callable[..., Tensor]  # a convolution, an addition, perhaps a ReLU


def onednn() -> Operators:
    """The operators of this build of torch. Raises `AttributeError` where one is missing."""
    ops = torch.ops.mkldnn
    return Operators(
        ops._reorder_convolution_weight, ops._convolution_pointwise.default, ops._convolution_pointwise.binary
    )


class PackedKernel:
    """A weight, packed for oneDNN at the first input of a shape."""

    def __init__(self, operators: Operators, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> None:
        self.weight, self.padding = weight, padding
        self._operators, self._bias = operators, bias
        self._packed: dict[tuple[int, ...], Tensor] = {}  # threads may pack the same weight twice, to equal bytes

    def __call__(
        self, x: Tensor, stride: tuple[int, int] = (1, 1), other: Tensor | None = None, relu: bool = False
    ) -> Tensor:
        """relu(conv(x) + other)."""
        key = *x.shape, *stride
        packed = self._packed.get(key)
        if packed is None:
            packed = self._operators.pack(self.weight, self.padding, stride, (1, 1), 1, tuple(x.shape))
            self._packed[key] = packed
        common = packed, self._bias, self.padding, stride, (1, 1), 1
        if other is None:
            return self._operators.convolve(x, *common, "relu" if relu else "none", [], "")
        return self._operators.convolve_add(x, other, *common, "add", None, "relu" if relu else None, [], "")


@dataclass(frozen=True)
class Spread:
    """The input gradient of a strided convolution as one plain convolution, followed by a change of places.

    Pixel s·a + r of the gradient is the sum of dy[o] · w[s·(a − o) + r + p] over o: for each phase r a convolution of
    dy with every s-th tap. All s² of them are the output channels of one kernel. It reads dy as it is, where torch's
    own operator gathers every tap, and takes (taps of a phase)² · s² products, not the k² · s² of dy between zeros.
    """

    kernel: PackedKernel
    stride: tuple[int, int]
    first: tuple[int, int]  # d = a − o of the last tap: what the output is shifted by
    last: tuple[int, int]

    @classmethod
    def of(cls, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], operators: Operators) -> Spread:
        """For a weight (C_out, C_in, k, l)."""
        taps = [_taps(*each) for each in zip(weight.shape[2:], stride, padding, strict=True)]
        (rows, low_y, high_y), (columns, low_x, high_x) = taps
        padded = F.pad(weight, (0, 1, 0, 1))  # a tap that a phase lacks is 0
        phases = padded[:, :, rows[:, None, :, None], columns[None, :, None, :]]  # (C_out, C_in, s, s, t, t)
        kernel = phases.permute(2, 3, 1, 0, 4, 5).flatten(0, 2).contiguous(memory_format=torch.channels_last)
        reach = max(high_y, -low_y), max(high_x, -low_x)
        return cls(PackedKernel(operators, kernel, None, reach), stride, (low_y, low_x), (high_y, high_x))

    def __call__(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """The gradient at an x of `shape` (N, C, H, W)."""
        n, channels, *size = shape
        needed = [-(-side // step) for side, step in zip(size, self.stride, strict=True)]  # of a, per direction
        missing = [
            max(0, want - have - reach - low)
            for want, have, reach, low in zip(needed, gradient.shape[2:], self.kernel.padding, self.first, strict=True)
        ]
        if any(missing):  # the convolution left rows or columns at the far edges out
            gradient = F.pad(gradient, (0, missing[1], 0, missing[0]))
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        y = self.kernel(gradient).permute(0, 2, 3, 1)  # (N, A, B, s · s · C)
        top, left = (reach - high for reach, high in zip(self.kernel.padding, self.last, strict=True))
        y = y[:, top : top + needed[0], left : left + needed[1]]
        y = y.reshape(n, *needed, *self.stride, channels).transpose(2, 3)  # (N, A, s, B, s, C)
        y = y.reshape(n, needed[0] * self.stride[0], needed[1] * self.stride[1], channels)
        dx: Tensor = y[:, : size[0], : size[1]].permute(0, 3, 1, 2)
        return dx.contiguous(memory_format=torch.channels_last)


@functools.cache  # weights are loaded at every step, and their places stay the same
def _taps(kernel: int, stride: int, padding: int) -> tuple[Tensor, int, int]:
    """Which tap of w a phase (row) takes at each place of its kernel (column), `kernel` where none; the range of d."""
    reach = [
        range(-((phase + padding) // stride), (kernel - 1 - phase - padding) // stride + 1) for phase in range(stride)
    ]
    low, high = min(each.start for each in reach), max(each.stop - 1 for each in reach)
    numbers = torch.arange(stride)[:, None] + padding + stride * torch.arange(high, low - 1, -1)
    return torch.where((numbers >= 0) & (numbers < kernel), numbers, kernel), low, high
