"""From a scanned collection to finished shards: load, craft, encode, write."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..noise import add
from ..noise.methods import Noise
from ..progress import Event, Progress
from ..settings import ProtectConfig
from ..shards import Encoded, Extra, Fields, LedgerRow, ShardWriter, done_stats, encode, mark_done
from ..sources import Collection
from ..sources.image_metadata import Metadata
from ..threads import ahead, behind, ordered_map
from .resume import Job
from .scan import limit_rejects
from .training_images import labels_of

Pixels = NDArray[np.uint8]


PNG = Fields()


PIECE_PIXELS = 1 << 15  # that a thread encodes at a time


PIECE_BYTES = 1 << 29  # of photographs, clean and protected, that wait for a thread or are being encoded


PIECES = 16  # a thread: work for as long as a finished shard takes to reach the disk


BATCH_PIXELS = 1 << 25  # of photographs that are crafted together


@dataclass(frozen=True)
class Batch:
    """Inputs that are crafted together, pixels uint8 (H, W, 3) RGB; and why other inputs are missing.

    Where all images have one size they lie in one array (N, H, W, 3), otherwise in a list.
    """

    shard: int
    at: int  # place of the first in the shard
    images: Pixels | list[Pixels]
    labels: Tensor  # int64 (N,)
    inputs: list[tuple[int, int, int]]  # of each image: its place in the shard, its number, its label
    rejects: dict[int, str]
    extras: list[Extra] | None = None
    protected: Pixels | list[Pixels] | None = None


def make_shards(
    job: Job,
    craft: Callable[[Batch], Batch],
    plan: list[NDArray[np.int64]],
    missing: list[int],
    max_rejects: float,
    progress: Progress,
) -> None:
    """Write the `missing` shards of a plan; `craft` puts the protected images into a batch."""
    total = sum(len(plan[shard]) for shard in missing)
    made = (done_stats(job.out, shard) for shard in sorted(set(range(len(plan))) - set(missing)))
    done, rejected = 0, len(job.collection.rejects) + sum(stats.rejected for stats in made if stats)
    limit_rejects(rejected, len(job.collection.source), max_rejects, f"; see {job.ledger.path}")
    progress(Event("craft", done, total, "images"))
    with behind(functools.partial(_write_shards, job)) as write:
        for batch in ahead(_load(job.collection, job.config, plan, missing)):
            write(craft(batch))
            done, rejected = done + len(batch.inputs) + len(batch.rejects), rejected + len(batch.rejects)
            limit_rejects(rejected, len(job.collection.source), max_rejects, "")
            progress(Event("craft", done, total, "images"))


def _load(
    collection: Collection, config: ProtectConfig, plan: list[NDArray[np.int64]], shards: list[int]
) -> Iterator[Batch]:
    for shard in shards:
        at = 0
        for numbers in batches(collection, config, plan[shard]):
            yield load_batch(collection, numbers, shard, at)
            at += len(numbers)
        if not len(plan[shard]):
            yield load_batch(collection, plan[shard], shard, 0)  # a tar without a usable sample is an empty one


def batches(collection: Collection, config: ProtectConfig, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The inputs of a shard cut into batches: by count, and of photographs by their pixels, too."""
    pixels = collection.sizes[numbers].astype(np.int64).prod(1)
    first, total = 0, 0
    for place, of_it in enumerate(pixels.tolist()):
        if place > first and (place - first == config.craft_batch or total + of_it > BATCH_PIXELS):
            yield numbers[first:place]
            first, total = place, 0
        total += of_it
    if first < len(numbers):
        yield numbers[first:]


def load_batch(collection: Collection, numbers: NDArray[np.int64], shard: int, at: int) -> Batch:
    """The inputs `numbers`, which stand at place `at` of a shard."""
    metadata, carried = dict[int, Metadata](), dict[int, dict[str, bytes]]()

    def one(number: int) -> Pixels:
        if collection.source.fields:
            carried[number] = collection.source.carried(number)
        if collection.decoding.keep_metadata == "none":
            return collection.pixels(number)
        picture = collection.decoded(number)
        metadata[number] = picture.metadata
        return picture.pixels

    pixels, kept, rejects = collection.several_of(numbers, one)
    places = [place for place, number in enumerate(numbers.tolist(), at) if number not in rejects]
    labels = labels_of(collection, kept)
    inputs = list(zip(places, kept.tolist(), labels.tolist(), strict=True))
    extras = None
    if metadata or carried:
        extras = [Extra(metadata.get(number, Metadata()), carried.get(number, {})) for number in kept.tolist()]
    images = np.stack(pixels) if collection.size and pixels else pixels
    return Batch(shard, at, images, labels, inputs, rejects, extras)


def craft_batch(noise: Noise, batch: Batch) -> Batch:
    """The batch with its protected images."""
    if not len(batch.images):
        return replace(batch, protected=batch.images)
    if isinstance(batch.images, list):
        return replace(batch, protected=noise.photos(batch.images, batch.labels, batch.shard, batch.at))
    numbers = np.array([number for _, number, _ in batch.inputs], np.int64)
    planes = torch.from_numpy(np.ascontiguousarray(batch.images.transpose(0, 3, 1, 2)))
    delta = noise(planes, batch.labels, numbers, batch.shard, batch.at)
    return replace(batch, protected=np.ascontiguousarray(add(planes, delta).numpy().transpose(0, 2, 3, 1)))


@dataclass(frozen=True)
class EncodedChunk:
    """Samples of a batch that one thread encodes, and the numbers of their inputs."""

    shard: int
    samples: list[Encoded]
    numbers: tuple[int, ...]
    rejects: dict[int, str]


def encode_pieces(
    batches: Iterator[Batch], classes: tuple[str, ...], fields: Fields = PNG, quality: int = 95
) -> Iterator[EncodedChunk]:
    """The batches as encoded samples, in order, by a few threads."""
    recipe = classes, fields, quality
    return ordered_map(lambda piece: piece[1](), _pieces(batches, recipe), PIECES, lambda piece: piece[0], PIECE_BYTES)


Recipe = tuple[tuple[str, ...], Fields, int]


def _pieces(batches: Iterator[Batch], recipe: Recipe) -> Iterator[tuple[int, Callable[[], EncodedChunk]]]:
    """What is to be encoded, and the bytes of photographs that it holds on to."""
    for batch in batches:
        if batch.rejects or not len(batch.images):
            yield 0, functools.partial(EncodedChunk, batch.shard, [], (), batch.rejects)
        whole = not isinstance(batch.images, list)
        each = max(1, PIECE_PIXELS // (batch.images[0].size // 3)) if whole and len(batch.images) else 1
        for first in range(0, len(batch.images), each):
            held = 0 if whole else 2 * batch.images[first].nbytes
            which = range(first, min(first + each, len(batch.images)))
            yield held, functools.partial(_encode_piece, batch, which, recipe)


def _encode_piece(batch: Batch, which: range, recipe: Recipe) -> EncodedChunk:
    assert batch.protected is not None
    here = slice(which.start, which.stop)
    places, numbers, labels = zip(*batch.inputs[here], strict=True)
    clean, protected = (
        images[which.start][None] if isinstance(images, list) else images[here]
        for images in (batch.images, batch.protected)
    )
    classes, fields, quality = recipe
    extras = batch.extras[here] if batch.extras else None
    samples = encode(batch.shard, places, clean, protected, labels, classes, fields, quality, extras)
    return EncodedChunk(batch.shard, samples, numbers, {})


def _write_shards(job: Job, batches: Iterator[Batch]) -> None:
    pieces_of_all = encode_pieces(batches, job.classes, job.fields, job.config.quality)
    for shard, pieces in itertools.groupby(pieces_of_all, lambda piece: piece.shard):
        rows: list[LedgerRow] = []
        with ShardWriter(job.out, shard) as writer:
            for piece in pieces:
                writer.add(piece.samples)
                for number, sample in zip(piece.numbers, piece.samples, strict=True):
                    rows.append(_row(job.collection, number, key=sample.key))
                rows += [_row(job.collection, number, reason=reason) for number, reason in piece.rejects.items()]
                writer.rejected += len(piece.rejects)
        job.ledger.write_shard(shard, rows)
        mark_done(job.out, writer.stats)


def _row(collection: Collection, number: int, key: str | None = None, reason: str | None = None) -> LedgerRow:
    return LedgerRow(number, collection.source.entry(number).name, collection.digest(number), key, reason)
