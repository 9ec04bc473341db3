"""Training images by number, read from the source or held on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Runtime
from ..errors import RunError
from ..noise import pool_labels, pool_numbers
from ..settings import ProtectConfig
from ..sources import Collection
from ..sources.collection import SQUASHED


@dataclass(frozen=True)
class TrainingImages:
    """The usable images of a collection, as the training reads them: photographs squashed to `side` pixels a side."""

    collection: Collection
    numbers: NDArray[np.int64]
    side: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        images, labels, kept, rejects = tensors(self.collection, self.numbers[numbers.numpy()], self.side)
        if not len(kept):
            raise RunError(
                f"every image of a training batch has become unreadable; the first: {next(iter(rejects.values()))}"
            )
        return images, labels, torch.from_numpy(self.collection.sizes[kept]) if self.side else None


@dataclass(frozen=True)
class OnDevice:
    """All training images where the network is: uint8 (N, 3, H, W), labels (N,), sizes (N, 2) of squashed ones."""

    images: Tensor
    labels: Tensor
    sizes: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        chosen = numbers.to(self.labels.device, non_blocking=True)
        return self.images[chosen], self.labels[chosen], None if self.sizes is None else self.sizes[chosen]


def training_images(runtime: Runtime, collection: Collection, config: ProtectConfig) -> TrainingImages | OnDevice:
    """The usable images, or the pool of them, on the device where they fit there and in memory.

    In a pool, labels are shuffled once.
    """
    numbers, size = collection.usable, collection.size
    side = squashed_side(collection, config)
    if config.pool:
        numbers = numbers[pool_numbers(len(numbers), config).numpy()]
    height, width = size or (side, side)
    data = TrainingImages(collection, numbers, side)
    needed = len(numbers) * height * width * 3
    in_memory = collection.in_memory if size else needed <= collection.cache.most
    if not config.pool and (runtime.device.type == "cpu" or not in_memory or not runtime.fits(needed)):
        return data
    images, labels, sizes = data.batch(torch.arange(len(numbers)))
    device = runtime.device
    if config.pool:
        labels = pool_labels(labels, config)
        device = device if runtime.fits(needed) else images.device
    return OnDevice(images.to(device), labels.to(device), None if sizes is None else sizes.to(device))


def squashed_side(collection: Collection, config: ProtectConfig) -> int:
    """Pixels a side of the squares that photographs are trained on as; 0 for images of one size, which stay as they
    are.
    """
    return 0 if collection.size else SQUASHED * config.crop


def tensors(
    collection: Collection, numbers: NDArray[np.int64], squashed: int = 0
) -> tuple[Tensor, Tensor, NDArray[np.int64], dict[int, str]]:
    """uint8 (n, 3, H, W) and int64 labels of those inputs that can be read; which these are; why not the others."""
    pixels, kept, rejects = collection.stack(numbers, squashed)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))  # torch would start threads here, and they spin
    return torch.from_numpy(planes), labels_of(collection, kept), kept, rejects


def labels_of(collection: Collection, numbers: NDArray[np.int64]) -> Tensor:
    """int64 labels of inputs."""
    return torch.from_numpy(collection.labels[numbers].astype(np.int64))
