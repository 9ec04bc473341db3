"""Convolutions of a folded network on a GPU that also compute the ReLU and the addition that follow them.

cuDNN applies both to values that it still holds, as oneDNN does on a CPU (`fused`). Where the ReLU let a value through
is read off the saved output; the input gradient is cuDNN's own. Weights stay in the tensors that were loaded first, so
that a captured graph computes with what is copied into them later.

`available` compares the operators once per process and device with torch's convolution and its autograd; where they
differ, or fail, the plain pass is used. SEMSHARD_FUSED=off switches them off, too.
"""

from __future__ import annotations

import functools
import os

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fused import SWITCH, FusedConv, Variant, problem_of

LAST = torch.channels_last
MULTIPLE = 8  # channels that a matrix unit takes at once; cuDNN fuses no others

VARIANTS = (
    Variant("ReLU", relu=True, channels=(16, 24)),
    Variant("sum", relu=True, other=True, channels=(16, 24)),
    Variant("strided", relu=True, stride=2, channels=(16, 24)),
    Variant("strided shortcut", kernel=1, stride=2, channels=(16, 24)),
    Variant("odd channels", relu=True, other=True, channels=(3, 24)),
)


class CudnnConv(FusedConv):
    """A fused convolution on a GPU; a plain one for shapes that cuDNN does not fuse."""

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__(conv, relu)
        self._refused = set[torch.Size]()

    def load(self, weight: Tensor, bias: Tensor | None) -> None:
        """Compute with these tensors, and with what is copied into them later."""
        self._weight, self._bias = weight, bias

    def convolve(self, x: Tensor, other: Tensor | None) -> Tensor:
        weight, bias, one = self._weight, self._bias, (1, 1)
        if self.relu and x.shape not in self._refused and not any(n % MULTIPLE for n in weight.shape[:2]):
            try:
                if other is None:
                    return torch.cudnn_convolution_relu(x, weight, bias, self.stride, self.padding, one, 1)
                return torch.cudnn_convolution_add_relu(x, weight, other, 1.0, bias, self.stride, self.padding, one, 1)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # cuDNN has none for this shape
                self._refused.add(x.shape)
        out = F.conv2d(x, weight, bias, self.stride, self.padding)
        out = out if other is None else out.add_(other)
        return out.relu_() if self.relu else out

    def input_gradient(self, gradient: Tensor, shape: torch.Size, other: Tensor | None) -> Tensor:
        x = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=LAST)  # for its layout only
        dx = self._plain_input_gradient(gradient, x)
        return dx if other is None else dx.add_(other)


def available(device: torch.device) -> bool:
    """Whether fused convolutions are switched on and compute on this device what plain ones compute."""
    return reason(device) is None


@functools.cache
def reason(device: torch.device) -> str | None:
    """Why fused convolutions are not used on a device, in a sentence for the user; None where they are."""
    if os.environ.get(SWITCH, "").strip().lower() == "off":
        return f"fused convolutions are switched off ({SWITCH}=off): the plain pass is used"
    fault = problem_of(CudnnConv, device, VARIANTS, str(device))
    return f"{fault}: the plain pass is used, which is slower" if fault else None
