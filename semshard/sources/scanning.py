"""The scan: every input of a source is decoded once, in blocks, by threads of this process or by other processes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from ..settings import LARGE
from ..threads import ordered_map
from .collection import CACHE_BYTES, Cache, Collection, Pixels, check_classes, read, stacked, unscanned, unstacked
from .decode import Decoded, Decoding
from .source import Source

FEW, MANY = 8, 512  # inputs of a block
BLOCK_SECONDS = 0.1  # that a block should take where other processes scan


@dataclass(frozen=True)
class ScanOrder:
    """How inputs are read."""

    decoding: Decoding
    resolution: int
    longest: int | None  # pixels of a side


@dataclass(frozen=True)
class ScanBlock:
    """Inputs that are scanned together: their `places` in the `source`, and their numbers in the collection."""

    source: Source
    places: Sequence[int]
    numbers: Sequence[int]
    keep: bool  # whether small pictures are wanted, too

    def __str__(self) -> str:
        return f"the scan of inputs {self.numbers[0]} to {self.numbers[-1]}"


@dataclass(frozen=True)
class ScannedBlock:
    """What the scan of a block found, one row per input."""

    numbers: Sequence[int]
    sha256: NDArray[np.uint8]  # (N, 32), of what was read
    sizes: NDArray[np.int32]  # (N, 2), height and width
    digests: NDArray[np.uint64]  # (N, 2), of the pixels
    reasons: dict[int, str]  # of rejects, by number
    notes: dict[int, str]
    pixels: list[tuple[list[int], Pixels]]  # numbers and pictures (n, H, W, 3) of a size, those worth keeping


Report = Callable[[Any], None]
Job = Callable[[ScanOrder, Iterable[ScanBlock], Report], Iterator[ScannedBlock]]
Run = Callable[[Job, ScanOrder, Iterable[ScanBlock], Report], Iterator[ScannedBlock]]  # as the workers' `Pool.run`


def scan(
    source: Source,
    decoding: Decoding | None = None,
    resolution: int = 0,
    numbers: Sequence[int] | None = None,
    *,
    duplicates: str = "keep",
    longest: int | None = None,
    keep: int = CACHE_BYTES,
    advance: Callable[[int, int], None] = lambda done, rejected: None,
    elsewhere: Run | None = None,
    need_one: bool = True,
) -> Collection:
    """Decode every input once, or those with the given `numbers`. `advance(inputs done, rejects)` follows each block.

    Of many `numbers` see `scan_inputs`, which does the same for any inputs, whether they are usable or not.

    Images with a side above `longest` are rejected, those with the pixels of an earlier one where `duplicates` is
    "reject". Up to `keep` bytes of pixels stay in memory. `elsewhere` runs the scan in other processes, with the same
    result.

    Raises `SourceError` where all inputs belong to one class, or a class has a single one, before any is read; and
    where none is usable, if `need_one`.
    """
    collection = replace(unscanned(source, decoding or Decoding(), resolution), cache=Cache(keep))
    digests = np.zeros((len(source), 2), np.uint64)
    chosen = range(len(source)) if numbers is None else numbers
    for number in chosen:
        label = source.entry(number).label
        collection.labels[number] = -1 if label is None else label
    if numbers is None and source.classes:
        check_classes(collection, np.flatnonzero(collection.labels >= 0), "images")
    order, done = ScanOrder(collection.decoding, collection.resolution, longest), 0
    for block in (elsewhere or _here)(scan_blocks, order, _blocks(collection, chosen, elsewhere is not None), _ignore):
        _enter(collection, digests, block)
        done += len(block.numbers)
        advance(done, len(collection.rejects))
    for found in (collection.rejects, collection.notes):  # blocks come in any order
        ordered = sorted(found.items())
        found.clear()
        found.update(ordered)
    _find_duplicates(collection, digests, duplicates)
    usable = collection.usable if numbers is None else np.setdiff1d(chosen, list(collection.rejects))
    if need_one and not len(usable):
        reason = next(iter(collection.rejects.values()), "there are none")
        raise SourceError(f"{source.spec} holds no usable image; the first is rejected because: {reason}")
    return collection


def _ignore(message: object) -> None:
    """Blocks are short: nothing needs to be said of one before it is done."""


def _here(job: Job, order: ScanOrder, works: Iterable[ScanBlock], report: Report) -> Iterator[ScannedBlock]:
    return job(order, works, report)


def _blocks(collection: Collection, chosen: Sequence[int], apart: bool) -> Iterator[ScanBlock]:
    """The inputs in blocks, `apart` from their source where other processes scan; these grow until each takes long
    enough to be worth its way.
    """
    start, first, each = time.monotonic(), 0, FEW
    while first < len(chosen):
        numbers = chosen[first : first + each]
        source, places = collection.source, numbers
        if apart:
            part = source.part(numbers)
            assert part is not None
            source, places = part, range(len(numbers))
            rate = first / max(1e-9, time.monotonic() - start)
            each = min(MANY, max(FEW, 2 * len(numbers) if rate * BLOCK_SECONDS > each else len(numbers)))
        yield ScanBlock(source, places, numbers, collection.cache.has_room)
        first += len(numbers)


def scan_blocks(order: ScanOrder, works: Iterable[ScanBlock], report: Report) -> Iterator[ScannedBlock]:
    """The job of a worker: blocks in, what the scan found out."""
    return ordered_map(lambda block: _scan_block(order, block), works)


def _scan_block(order: ScanOrder, block: ScanBlock) -> ScannedBlock:
    count, kept = len(block.numbers), list[tuple[int, Pixels]]()
    found = ScannedBlock(
        block.numbers, np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int32), np.zeros((count, 2), np.uint64),
        {}, {}, [],
    )  # fmt: skip
    for row, (place, number) in enumerate(zip(block.places, block.numbers, strict=True)):
        try:
            picture, sha256 = _scan_one(order, block.source, place)
        except RejectedImage as reason:
            found.reasons[number] = str(reason)
            continue
        pixels, shape = picture.pixels, np.array(picture.pixels.shape[:2], np.int32)
        found.sha256[row], found.sizes[row] = np.frombuffer(sha256, np.uint8), shape
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16, key=shape.tobytes()).digest()
        found.digests[row] = np.frombuffer(digest, np.uint64)
        if picture.note:
            found.notes[number] = picture.note
        if block.keep and (
            max(pixels.shape) <= LARGE or order.resolution
        ):  # of larger ones training keeps small copies
            kept.append((number, pixels))
    found.pixels.extend(stacked(kept))
    return found


def _scan_one(order: ScanOrder, source: Source, place: int) -> tuple[Decoded, bytes]:
    """A picture and the SHA-256 of what was read. Raises `RejectedImage`."""
    entry = source.entry(place)
    if entry.reason or (entry.label is None and source.classes):
        raise RejectedImage(entry.reason or "has no label")
    picture, sha256 = read(source, place, order.decoding, order.resolution, entry.box)
    height, width = picture.pixels.shape[:2]
    if order.longest and max(height, width) > order.longest:
        raise RejectedImage(f"{width} × {height} pixels, above {order.longest} per side, the maximum of the format")
    return picture, sha256


def _enter(collection: Collection, digests: NDArray[np.uint64], block: ScannedBlock) -> None:
    """Put what a block's scan found into the collection."""
    numbers = list(block.numbers)
    collection.sha256[numbers], collection.sizes[numbers] = block.sha256, block.sizes
    digests[numbers] = block.digests
    collection.rejects |= block.reasons
    collection.notes |= block.notes
    for number, pixels in unstacked(block.pixels):
        collection.cache.put((number, 0), pixels)


def _find_duplicates(collection: Collection, digests: NDArray[np.uint64], what: str) -> None:
    """Count the usable inputs with the pixels of an earlier one; with "reject" they are rejected."""
    usable = np.flatnonzero(collection.sizes[:, 0])
    order = usable[np.lexsort((usable, digests[usable, 0], digests[usable, 1]))]
    first = -1
    for number in order.tolist():
        if first < 0 or (digests[number] != digests[first]).any():
            first = number
            continue
        collection.duplicates += 1
        if what == "reject":
            collection.rejects[number] = f"has the pixels of {collection.source.entry(first).name}"
            collection.sizes[number] = 0
    if what == "reject":
        collection.rejects = dict(sorted(collection.rejects.items()))
