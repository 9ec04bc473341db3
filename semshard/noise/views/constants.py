"""Constants of views, on the device once."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


def constant(values: tuple[Any, ...], like: Tensor, scale: float = 1) -> Tensor:
    """Numbers, nested tuples for more dimensions, times `scale`, in the dtype and on the device of `like`.

    Kept: to copy it there again would make the host wait for a GPU, and on a CPU takes as long as to use it.
    """
    return _kept(values, scale, like.dtype, like.device)


@functools.cache
def _kept(values: tuple[Any, ...], scale: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device) * scale
