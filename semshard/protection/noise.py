"""The noise of a method for the images of a collection."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..engine import Runtime, permutation
from ..noise.methods import HELD_OUT, HeldOut, Noise, make_noise
from ..settings import ProtectConfig
from ..sources import Collection
from .resume import check_method
from .training_images import tensors


def noise_of(runtime: Runtime, collection: Collection, config: ProtectConfig, model: nn.Module | None) -> Noise:
    """The noise of a method, by its trained surrogate where it has one. Raises `SettingError` where the images do not
    suit the method.
    """
    check_method(runtime, collection, config)
    others = held_out(collection, config)
    return make_noise(runtime, config, len(collection.classes), collection.size, model=model, held_out=others)


def held_out(collection: Collection, config: ProtectConfig) -> HeldOut:
    """Images outside a block, uint8 (V, 3, H, W), and their labels: the first of a seeded order, read once."""

    @functools.cache
    def first() -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        order = collection.usable[permutation(len(collection.usable), config.seed, "held out").numpy()]
        return tensors(collection, order[: HELD_OUT + config.craft_batch])[:3]

    def outside(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, labels, known = first()
        chosen = torch.from_numpy(np.flatnonzero(~np.isin(known, numbers))[:HELD_OUT])
        return images[chosen], labels[chosen]

    return outside
