"""What victims are trained and tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (N, 3, H, W) with int64 labels (N,), and the sizes (N, 2) that squashed ones have by themselves."""

    images: Tensor
    labels: Tensor
    sizes: Tensor | None = None

    def __getitem__(self, chosen: Tensor | slice) -> LabelledImages:
        sizes = None if self.sizes is None else self.sizes[chosen]
        return LabelledImages(self.images[chosen], self.labels[chosen], sizes)

    def batches(self, size: int, most: int | None = None) -> Iterator[LabelledImages]:
        """Batches of `size` of the images, in order; of `most` of them where there are more, evenly spaced: where they
        are sorted by class, of all classes alike.
        """
        here = len(self.labels)
        count = here if most is None else min(here, most)
        for at in range(0, count, size):
            yield self[torch.arange(at, min(at + size, count)) * here // count]

    def map(self, change: Callable[[Tensor], Tensor]) -> LabelledImages:
        """The same images with their tensors changed, which are copied to a device, say."""
        sizes = None if self.sizes is None else change(self.sizes)
        return LabelledImages(change(self.images), change(self.labels), sizes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of pixels, labels and sizes, in hex."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, *(() if self.sizes is None else (self.sizes,))):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class VictimData:
    """What a victim trains on and is tested on. `validation` is what early stopping holds back, as it was published
    and as it was before: two forms of the same images. `own` are clean images that the attacker has of his own; what
    he trains on from the collection does not contain them.
    """

    train: LabelledImages
    test: LabelledImages
    validation: tuple[LabelledImages, LabelledImages] | None = None
    own: LabelledImages | None = None

    @property
    def digest(self) -> str:
        parts = (self.train, self.test, *(self.validation or ()), *((self.own,) if self.own else ()))
        return hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
