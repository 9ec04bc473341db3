"""Dropout whose draws are part of the training's state, not of the process's: a resumed training draws the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ROUNDS = ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15))  # of SplitMix64 (Steele, Lea and Flood 2014)
_BITS = 31


class Dropout(nn.Module):
    """Each value of (N, C) is 0 with probability `share` and otherwise divided by 1 − share; in evaluation mode as it
    is.

    What is dropped is a hash of the layer, the step, the image's place in the batch and the channel, so it depends on
    nothing else: neither on the device nor on how the batch is divided. `first_row` is the place of a part in it.
    """

    num_batches_tracked: Tensor
    salt: Tensor

    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share, self.first_row = share, 0
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))  # counted as batch norms do
        self.register_buffer("salt", torch.randint(2**62, ()), persistent=False)  # as initial weights are drawn

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rows, channels = (torch.arange(n, device=x.device) for n in x.shape)
        place = ((self.first_row + rows) * x.shape[1])[:, None] + channels
        drawn = mixed(mixed(self.salt + self.num_batches_tracked) + place) >> (63 - _BITS) & (2**_BITS - 1)
        self.num_batches_tracked += 1
        kept = drawn >= round(self.share * 2**_BITS)
        out: Tensor = x * (kept.to(x.dtype) / (1 - self.share))
        return out


def mixed(values: Tensor) -> Tensor:
    """A hash of int64 values: every bit depends on all."""
    for shift, factor in _ROUNDS:
        values = (values ^ (values >> shift & (1 << (64 - shift)) - 1)) * factor
    return values ^ (values >> 31 & (1 << 33) - 1)
