"""The noise of a method for the images of a collection, in this process and in others."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..digests import read_plain, sha256_of
from ..engine import Runtime, permutation, tensors_in
from ..errors import RunError
from ..noise import new_surrogate
from ..noise.methods import HELD_OUT, HeldOut, Noise, make_noise
from ..settings import ProtectConfig, Size
from ..sources import Collection
from .batches import Craft, craft_batch
from .resume import Run, check_method
from .training_images import tensors


def noise_of(
    runtime: Runtime,
    collection: Collection,
    config: ProtectConfig,
    model: nn.Module | None,
    others: HeldOut | None = None,
) -> Noise:
    """The noise of a method, by its trained surrogate where it has one. Raises `SettingError` where the images do not
    suit the method.
    """
    check_method(runtime, collection, config)
    others = others or held_out(collection, config)
    return make_noise(runtime, config, len(collection.classes), collection.size, model=model, held_out=others)


Known = tuple[Tensor, Tensor, NDArray[np.int64]]  # uint8 images (N, 3, H, W), their labels and numbers


class Others:
    """Images outside a block and their labels: the first of a seeded order, read once. Another process gets a copy."""

    def __init__(self, read: Callable[[], Known]) -> None:
        self._known = functools.cache(read)

    def __reduce__(self) -> tuple[type[Others], tuple[Callable[[], Known]]]:
        return Others, (_Given(*(np.asarray(part) for part in self._known())),)

    def __call__(self, numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """uint8 (V, 3, H, W) and labels (V,) of images that are not among those numbers."""
        images, labels, known = self._known()
        chosen = torch.from_numpy(np.flatnonzero(~np.isin(known, numbers))[:HELD_OUT])
        return images[chosen], labels[chosen]


@dataclass(frozen=True)
class _Given:
    """What was read in another process."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]

    def __call__(self) -> Known:
        return torch.from_numpy(self.images), torch.from_numpy(self.labels), self.numbers


def held_out(collection: Collection, config: ProtectConfig) -> Others:
    """The images that a block of this collection is tested on."""

    def first() -> Known:
        order = collection.usable[permutation(len(collection.usable), config.seed, "held out").numpy()]
        return tensors(collection, order[: HELD_OUT + config.craft_batch])[:3]

    return Others(first)


@dataclass(frozen=True, eq=False)
class Crafting:
    """Makes what crafts the batches of a run: by the noise of this process, or in another one by a noise of its own."""

    noise: Noise | None  # of this process; not sent to others
    config: ProtectConfig
    classes: int
    size: Size
    runtime: Runtime
    surrogate: Path | None  # the file of its weights; None where the method has none
    sha256: str  # of that file
    others: HeldOut | None
    weights: bytes | None = None  # of that file, where it is not read again

    @classmethod
    def of(cls, run: Run, model: nn.Module | None) -> Crafting:
        """That of a run with its trained surrogate. Raises `SettingError` where the images do not suit the method."""
        path = run.ledger.surrogate if model is not None else None
        collection = run.first_planned
        others = held_out(collection, run.config)  # of this process and of the others: read once
        return cls(
            noise_of(run.runtime, collection, run.config, model, others), run.config, len(run.classes),
            collection.size, run.runtime, path, _sha256(path), others,
        )  # fmt: skip

    def with_weights(self) -> Crafting:
        """The same with the bytes of the surrogate's file, for processes that may not have the file."""
        return self if self.surrogate is None else replace(self, weights=read_plain(self.surrogate))

    def __call__(self) -> Craft:
        return functools.partial(craft_batch, self.noise or self._noise())

    def __getstate__(self) -> dict[str, Any]:
        others = self.others if self.config.method == "ntga" else None
        kind = torch.device(self.runtime.device.type)  # the number is another one in a process that sees fewer GPUs
        runtime = Runtime(kind, self.runtime.precision, draws_together=self.runtime.draws_together)
        return vars(self) | {"noise": None, "others": others, "runtime": runtime}

    def _noise(self) -> Noise:
        model = None
        if self.surrogate is not None:
            data = self.weights or read_plain(self.surrogate)
            if hashlib.sha256(data).hexdigest() != self.sha256:
                raise RunError(f"{self.surrogate} has changed while the run was using it")
            model = new_surrogate(self.config, self.classes, self.size, self.runtime)
            model.load_state_dict(tensors_in(data))
        return make_noise(self.runtime, self.config, self.classes, self.size, model=model, held_out=self.others)


def _sha256(path: Path | None) -> str:
    return sha256_of(path) if path else ""
