"""Countermeasures that are filters: applied once to every picture, for training and for testing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...filters import Filter


def apply(filter: Filter, images: Tensor) -> Tensor:
    """Images uint8 (N, 3, H, W), each through `filter`; the same shape and dtype."""
    pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
    filtered = np.stack([filter(picture) for picture in pictures])
    return torch.from_numpy(filtered).permute(0, 3, 1, 2).contiguous()
