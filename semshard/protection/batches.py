"""The inputs of a shard in batches: loaded, crafted together, and without those that are withheld."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RejectedImage
from ..noise import add
from ..noise.methods import Noise
from ..settings import ProtectConfig
from ..shards import Extra
from ..sources import Collection
from ..sources.image_metadata import Metadata
from .training_images import labels_of

Pixels = NDArray[np.uint8]
BATCH_PIXELS = 1 << 25  # of photographs that are crafted together


@dataclass(frozen=True)
class ShardWork:
    """A shard that is to be made of inputs of a collection, in their order.

    A shard that is made again has the batches that it had: those of its inputs that could not be read then are `absent`
    (place → reason), some of them `moved` (places): accounted for elsewhere by now. Those that were removed since are
    `withheld` (places): crafted, and not published.
    """

    shard: int
    collection: Collection
    numbers: NDArray[np.int64]
    absent: Mapping[int, str] = field(default_factory=dict)
    moved: frozenset[int] = frozenset()
    withheld: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return f"shard {self.shard}"


@dataclass(frozen=True)
class Batch:
    """Inputs that are crafted together, pixels uint8 (H, W, 3) RGB; and why other inputs are missing.

    Where all images have one size they lie in one array (N, H, W, 3), otherwise in a list.
    """

    shard: int
    at: int  # place of the first in the shard
    collection: Collection  # that the inputs are of
    images: Pixels | list[Pixels]
    labels: Tensor  # int64 (N,)
    inputs: list[tuple[int, int, int]]  # of each image: its place in the shard, its number, its label
    rejects: dict[int, str]
    extras: list[Extra] | None = None
    protected: Pixels | list[Pixels] | None = None
    moved: Mapping[int, int] = field(default_factory=dict)  # place → number, of rejects that have no row here
    withheld: frozenset[int] = frozenset()  # numbers of inputs that are crafted and not published


Craft = Callable[[Batch], Batch]  # puts the protected images into a batch


def load_batches(config: ProtectConfig, works: Iterable[ShardWork]) -> Iterator[Batch]:
    """The clean images of those shards, batch by batch; no batch crosses a shard."""
    for work in works:
        at = 0
        for numbers in batches(work.collection, config, work.numbers):
            yield load_batch(work.collection, numbers, work.shard, at, work.absent, work.moved, work.withheld)
            at += len(numbers)
        if not len(work.numbers):
            yield load_batch(work.collection, work.numbers, work.shard, 0)  # a tar without a usable sample is empty


def batches(collection: Collection, config: ProtectConfig, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The inputs of a shard cut into batches: by count, and of photographs by their pixels, too."""
    pixels = collection.sizes[numbers].astype(np.int64).prod(1)
    first, total = 0, 0
    for place, size in enumerate(pixels.tolist()):
        if place > first and (place - first == config.craft_batch or total + size > BATCH_PIXELS):
            yield numbers[first:place]
            first, total = place, 0
        total += size
    if first < len(numbers):
        yield numbers[first:]


def load_batch(
    collection: Collection,
    numbers: NDArray[np.int64],
    shard: int,
    at: int,
    absent: Mapping[int, str] | None = None,
    moved: frozenset[int] = frozenset(),
    withheld: frozenset[int] = frozenset(),
) -> Batch:
    """The inputs `numbers`, which stand at place `at` of a shard; the others as in `ShardWork`."""
    metadata, carried = dict[int, Metadata](), dict[int, dict[str, bytes]]()
    here = dict(enumerate(numbers.tolist(), at))
    missing = {here[place]: why for place, why in (absent or {}).items() if place in here}
    elsewhere = {place: here[place] for place in sorted(moved) if place in here}
    hidden = frozenset(here[place] for place in withheld if place in here)

    def read(number: int) -> Pixels:
        if number in missing:
            raise RejectedImage(missing[number])
        if number in hidden:
            return _pixels_or_black(collection, number)
        if collection.source.fields:
            carried[number] = collection.source.carried(number)
        if not collection.decoding.choice.anything:
            return collection.pixels(number)
        picture = collection.decoded(number)
        metadata[number] = picture.metadata
        return picture.pixels

    pixels, kept, rejects = collection.several_of(numbers, read)
    places = [place for place, number in enumerate(numbers.tolist(), at) if number not in rejects]
    labels = labels_of(collection, kept)
    inputs = list(zip(places, kept.tolist(), labels.tolist(), strict=True))
    extras = None
    if metadata or carried:
        extras = [Extra(metadata.get(number, Metadata()), carried.get(number, {})) for number in kept.tolist()]
    images = np.stack(pixels) if collection.size and pixels else pixels
    return Batch(shard, at, collection, images, labels, inputs, rejects, extras, moved=elsewhere, withheld=hidden)


def _pixels_or_black(collection: Collection, number: int) -> Pixels:
    """The pixels of an input that is not published; black of its size where the file is gone. The noise of most methods
    does not depend on what the other images of a batch show, only on their number and their sizes.
    """
    try:
        return collection.pixels(number)
    except RejectedImage:
        return np.zeros((*collection.sizes[number].tolist(), 3), np.uint8)


def craft_batch(noise: Noise, batch: Batch) -> Batch:
    """The batch with its protected images: noise within the budget, in grey levels, added to the pixels."""
    if not len(batch.images):
        return replace(batch, protected=batch.images)
    if isinstance(batch.images, list):
        return replace(batch, protected=noise.photos(batch.images, batch.labels, batch.shard, batch.at))
    numbers = batch.collection.numbers_in_whole(np.array([number for _, number, _ in batch.inputs], np.int64))
    planes = torch.from_numpy(np.ascontiguousarray(batch.images.transpose(0, 3, 1, 2)))
    delta = noise(planes, batch.labels, numbers, batch.shard, batch.at)
    return replace(batch, protected=np.ascontiguousarray(add(planes, delta).numpy().transpose(0, 2, 3, 1)))


def published(batch: Batch) -> Batch:
    """The batch without the inputs that are withheld."""
    keep = [place for place, (_, number, _) in enumerate(batch.inputs) if number not in batch.withheld]
    if len(keep) == len(batch.inputs):
        return batch

    def chosen(pixels: Pixels | list[Pixels] | None) -> Pixels | list[Pixels]:
        return pixels[keep] if isinstance(pixels, np.ndarray) else [pixels[place] for place in keep] if pixels else []

    extras = [batch.extras[place] for place in keep] if batch.extras else None
    return replace(
        batch, images=chosen(batch.images), protected=chosen(batch.protected), labels=batch.labels[keep],
        inputs=[batch.inputs[place] for place in keep], extras=extras,
    )  # fmt: skip
