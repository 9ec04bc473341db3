"""Memory that is used again and again while noise is crafted.

It stays in the cache, and the system need not clear new pages, which takes longer than to fill them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Scratch:
    """Blocks of memory by name and dtype. A tensor of a block holds until the same block is asked for again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._flat: dict[tuple[str, torch.dtype], Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor with anything in it."""
        size = math.prod(shape)
        flat = self._flat.get((name, dtype))
        if flat is None or flat.numel() < size:
            flat = self._flat[name, dtype] = torch.empty(size, dtype=dtype, device=self._device)
        return flat[:size].view(*shape)

    def last(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor (N, C, H, W) in the memory layout channels_last."""
        n, channels, height, width = shape
        return self(name, (n, height, width, channels), dtype).permute(0, 3, 1, 2)
