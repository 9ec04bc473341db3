"""The protected images of batches as encoded samples, with the ledger's rows of them; many threads encode at once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..shards import Encoded, Fields, LedgerRow, SampleBatch, digits_for, encode
from ..sources import Collection
from ..threads import ordered_map
from .batches import Batch

CHUNK_PIXELS = 1 << 15  # that a thread encodes at a time
CHUNK_BYTES = 1 << 29  # of photographs, clean and protected, that wait for a thread or are being encoded
CHUNKS = 16  # per thread: work for as long as a finished shard takes to reach the disk


@dataclass(frozen=True)
class Recipe:
    """How samples are written."""

    classes: tuple[str, ...]
    fields: Fields = field(default_factory=Fields)
    quality: int = 95
    digits: int = digits_for(0)  # of the numbers of the shards


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
