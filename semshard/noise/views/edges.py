"""Planes of any size in whole blocks: the last row and column repeated, as libjpeg does, and back."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def extend(planes: Tensor, height: int, width: int) -> Tensor:
    """The planes (N, C, H, W), their last row and column repeated up to height and width."""
    return padded(planes, height, width, "replicate")


def padded(planes: Tensor, height: int, width: int, mode: str) -> Tensor:
    """Planes of this height and width, as they are where they have them."""
    missing = (0, width - planes.shape[3], 0, height - planes.shape[2])
    return F.pad(planes, missing, mode=mode) if any(missing) else planes


def extend_adjoint(gradient: Tensor, height: int, width: int) -> Tensor:
    """What flowed to the repeated rows and columns goes to the last ones. Overwrites its argument."""
    if gradient.shape[2] > height:
        gradient[..., height - 1, :] = gradient[..., height - 1 :, :].sum(2)
        gradient = gradient[..., :height, :]
    if gradient.shape[3] > width:
        gradient[..., width - 1] = gradient[..., width - 1 :].sum(3)
        gradient = gradient[..., :width]
    return gradient


def whole(length: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `length`."""
    return -(-length // unit) * unit
