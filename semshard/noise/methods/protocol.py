"""The interface of every method: images in, noise within the budget out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Photo = NDArray[np.uint8]  # (H, W, 3) RGB


class Noise(Protocol):
    """The defensive noise of one collection. What it gives depends on its arguments and the seed, on nothing else."""

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        """int8 noise (N, 3, H, W) in grey levels, none above the budget, for uint8 images of that shape.

        int64 labels (N,); the images' numbers in their collection; the place `at` of the batch in its shard.
        """

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        """The protected form of photographs, each at its own size.

        Raises `SettingError` where the method needs images of one size.
        """
