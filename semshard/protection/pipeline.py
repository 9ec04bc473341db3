"""The pipeline of protect: load → craft → encode → write, shard by shard.

A thread reads ahead, the device crafts in the calling thread, and behind it threads encode and write, in the order of
the plan. `shard_pool` decides where the shards are made: in this process, or in several with a core each.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RejectedImage
from ..noise import add
from ..noise.methods import Noise
from ..settings import ProtectConfig
from ..shards import (
    Encoded,
    Extra,
    Fields,
    Ledger,
    LedgerRow,
    SampleBatch,
    ShardStats,
    ShardWriter,
    digits_for,
    encode,
    mark_done,
)
from ..sources import Collection
from ..sources.image_metadata import Metadata
from ..threads import ahead, behind, ordered_map
from ..workers import Report, run_alone
from .training_images import labels_of

Pixels = NDArray[np.uint8]
CHUNK_PIXELS = 1 << 15  # that a thread encodes at a time
CHUNK_BYTES = 1 << 29  # of photographs, clean and protected, that wait for a thread or are being encoded
CHUNKS = 16  # per thread: work for as long as a finished shard takes to reach the disk
BATCH_PIXELS = 1 << 25  # of photographs that are crafted together


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


@dataclass(frozen=True)
class Recipe:
    """How samples are written."""

    classes: tuple[str, ...]
    fields: Fields = field(default_factory=Fields)
    quality: int = 95
    digits: int = digits_for(0)  # of the numbers of the shards


@dataclass(frozen=True, eq=False)
class ShardOrder:
    """What is the same for all shards of a run; can be pickled where `craft` can."""

    craft: Callable[[], Craft]  # makes what crafts
    config: ProtectConfig
    recipe: Recipe
    out: Path
    ledger: Path
    record: Mapping[str, Any] = field(default_factory=dict)  # what the ledger keeps of every shard besides its stats

    @functools.cached_property
    def crafter(self) -> Craft:
        """What crafts, made once in each process."""
        return self.craft()

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


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
class Advanced:
    """Inputs that are crafted, and those that turned out to be unusable."""

    images: int
    rejects: int
    example: str = ""  # the name of one that is unusable, and why


def make_shards(order: ShardOrder, works: Iterable[ShardWork], report: Report) -> Iterator[ShardStats]:
    """Load, craft, encode and write shards, one after the other. After each batch `report` is given an `Advanced`."""
    done = deque[ShardStats]()

    def encode_and_write(protected: Iterator[Batch]) -> None:
        done.extend(write_shards(order, encode_batches(map(published, protected), order.recipe)))

    with behind(encode_and_write) as hand_on:
        for batch in ahead(load_batches(order.config, works)):
            hand_on(order.crafter(batch))
            report(Advanced(len(batch.inputs), len(batch.rejects) - len(batch.moved), _example(batch)))
            while done:
                yield done.popleft()
    yield from done


def _example(batch: Batch) -> str:
    """The name of an input of the batch that is unusable, and why; empty where there is none."""
    moved = set(batch.moved.values())
    for number, reason in batch.rejects.items():
        if number not in moved:
            return f"{batch.collection.source.entry(number).name} ({reason})"
    return ""


def make_shard(order: ShardOrder, work: ShardWork) -> ShardStats:
    """Load, craft, encode and write one shard, whose bytes depend on the arguments alone."""
    return run_alone(make_shards, order, work, lambda message: None)


# --- load ---------------------------------------------------------------------------------------------------------


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


# --- craft --------------------------------------------------------------------------------------------------------


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


# --- encode -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EncodedChunk:
    """Samples of a batch that one thread encodes, and the ledger's rows of them, or of rejects."""

    shard: int
    samples: list[Encoded]
    rows: list[LedgerRow]
    moved: list[list[int]] = field(default_factory=list)  # [place, number] of rejects that have no row


def encode_batches(batches: Iterator[Batch], recipe: Recipe) -> Iterator[EncodedChunk]:
    """The batches as encoded samples, in order, by a few threads."""
    return ordered_map(lambda work: work[1](), _chunks(batches, recipe), CHUNKS, lambda work: work[0], CHUNK_BYTES)


def _chunks(batches: Iterator[Batch], recipe: Recipe) -> Iterator[tuple[int, Callable[[], EncodedChunk]]]:
    """What is to be encoded, and the bytes of photographs that it keeps in memory."""
    for batch in batches:
        if batch.rejects or not len(batch.images):
            yield 0, functools.partial(EncodedChunk, batch.shard, [], *_rejected(batch))
        whole = not isinstance(batch.images, list)
        each = max(1, CHUNK_PIXELS // (batch.images[0].size // 3)) if whole and len(batch.images) else 1
        for first in range(0, len(batch.images), each):
            size = 0 if whole else 2 * batch.images[first].nbytes
            which = range(first, min(first + each, len(batch.images)))
            yield size, functools.partial(_encode_chunk, batch, which, recipe)


def _encode_chunk(batch: Batch, which: range, recipe: Recipe) -> EncodedChunk:
    assert batch.protected is not None
    here = slice(which.start, which.stop)
    places, numbers, labels = zip(*batch.inputs[here], strict=True)
    clean, protected = (
        images[which.start][None] if isinstance(images, list) else images[here]
        for images in (batch.images, batch.protected)
    )
    extras = batch.extras[here] if batch.extras else None
    samples = SampleBatch(batch.shard, places, labels, clean, protected, extras, recipe.digits)
    encoded = encode(samples, recipe.classes, recipe.fields, recipe.quality)
    rows = _rows(batch.collection, numbers)
    keyed = [replace(row, key=each.key, psnr=each.psnr) for row, each in zip(rows, encoded, strict=True)]
    return EncodedChunk(batch.shard, encoded, keyed)


def _rejected(batch: Batch) -> tuple[list[LedgerRow], list[list[int]]]:
    """The ledger's rows of the rejects of a batch, and [place, number] of those that have their row elsewhere."""
    rejects = {number: why for number, why in batch.rejects.items() if number not in batch.moved.values()}
    rows = _rows(batch.collection, list(rejects), reasons=list(rejects.values()))
    numbers = batch.collection.numbers_in_whole(np.array([*batch.moved.values()], np.int64)).tolist()
    return rows, [[place, number] for place, number in zip(batch.moved, numbers, strict=True)]


def _rows(collection: Collection, numbers: Sequence[int], reasons: Sequence[str] = ()) -> list[LedgerRow]:
    """Of inputs that have reasons why they are not published, or whose keys are added later."""
    in_whole = collection.numbers_in_whole(np.array(numbers, np.int64)).tolist()
    outcomes = zip(numbers, in_whole, reasons or itertools.repeat(None), strict=False)
    return [
        LedgerRow(whole, collection.source.entry(number).name, collection.digest(number), reason=reason)
        for number, whole, reason in outcomes
    ]


# --- write --------------------------------------------------------------------------------------------------------


def write_shards(order: ShardOrder, chunks: Iterator[EncodedChunk]) -> Iterator[ShardStats]:
    """The chunks as tar, parquet and ledger rows; a shard's stats file is written last and marks it as done."""
    digits = order.recipe.digits
    for shard, of_shard in itertools.groupby(chunks, lambda chunk: chunk.shard):
        rows: list[LedgerRow] = []
        moved: list[list[int]] = []
        with ShardWriter(order.out, shard, digits) as writer:
            for chunk in of_shard:
                writer.add(chunk.samples)
                rows += chunk.rows
                moved += chunk.moved
                writer.rejected += sum(row.reason is not None for row in chunk.rows) + len(chunk.moved)
        record = {**order.record, "stats": asdict(writer.stats), **({"absent": moved} if moved else {})}
        Ledger(order.ledger, digits).write_shard(shard, rows, record)
        mark_done(order.out, writer.stats, digits)
        yield writer.stats
