"""The scan: every input of a source is decoded once, in blocks, by threads of this process or by other processes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from ..settings import LARGE
from ..threads import ordered_map
from .collection import (
    CACHE_BYTES,
    Cache,
    Collection,
    Content,
    Pixels,
    check_classes,
    read,
    stacked,
    unscanned,
    unstacked,
)
from .decode import Decoded, Decoding
from .source import Source

FEW, MANY = 8, 512  # inputs of a block
SAME_PIXELS = "has the pixels of"  # how the reason of a duplicate begins
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
    block: int = 0  # of `FinishedBlocks` that it is a piece of

    def __str__(self) -> str:
        return f"the scan of inputs {self.numbers[0]} to {self.numbers[-1]}"


@dataclass(frozen=True)
class ScannedBlock:
    """What the scan of inputs found, one row for each."""

    block: int  # of `FinishedBlocks` that they are in
    numbers: Sequence[int] | NDArray[np.int64]
    sha256: NDArray[np.uint8]  # (N, 32), of what was read
    sizes: NDArray[np.int32]  # (N, 2), height and width
    digests: NDArray[np.uint64]  # (N, 2), of the pixels
    lengths: NDArray[np.int64]  # (N,), bytes that were read; −1 where none could be
    reasons: dict[int, str]  # of rejects, by number
    notes: dict[int, str]
    pixels: list[tuple[list[int], Pixels]]  # numbers and pictures (n, H, W, 3) of a size, those worth keeping


class FinishedBlocks(Protocol):
    """Where a scan keeps what it has found, in blocks of `size` inputs, so that one that was killed goes on."""

    size: int

    def load(self, block: int, numbers: Sequence[int]) -> ScannedBlock | None:
        """What was found of the inputs with those numbers; None where that is not known."""

    def save(self, block: int, found: ScannedBlock) -> None: ...


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
    finished: FinishedBlocks | None = None,
) -> Collection:
    """Decode every input once, or those with the given `numbers`. `advance(inputs done, rejects)` follows each block.

    Images with a side above `longest` are rejected, those with the pixels of an earlier one where `duplicates` is
    "reject". Up to `keep` bytes of pixels stay in memory. `elsewhere` runs the scan in other processes, with the same
    result. What was found usable in `finished` blocks is not decoded again, and they are added to.

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
    order = ScanOrder(collection.decoding, collection.resolution, longest)
    progress = _Progress(collection, digests, chosen, finished)
    done = progress.load()
    if done:
        advance(done, len(collection.rejects))
    work = _work(collection, progress.missing(), elsewhere is not None)
    for scanned in (elsewhere or _here)(scan_blocks, order, work, _ignore):
        progress.add(scanned)
        done += len(scanned.numbers)
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


class _Progress:
    """Which inputs of a scan are done. The `chosen` ones are in blocks, and each block is kept once it is whole."""

    def __init__(
        self,
        collection: Collection,
        digests: NDArray[np.uint64],
        chosen: Sequence[int],
        finished: FinishedBlocks | None,
    ) -> None:
        self._collection, self._digests, self._finished = collection, digests, finished
        size = finished.size if finished else max(1, len(chosen))
        self._blocks = [chosen[first : first + size] for first in range(0, len(chosen), size)]
        self._missing = list(self._blocks)
        self._left = list(map(len, self._blocks))  # inputs of each that are not done

    def load(self) -> int:
        """Enter what is usable in finished blocks; how many inputs. Rejects may be whole by now, and are read again."""
        done = 0
        for block, numbers in enumerate(self._blocks if self._finished else []):
            assert self._finished is not None
            if found := self._finished.load(block, numbers):
                rejected = sorted(found.reasons)
                found.reasons.clear()
                _enter(self._collection, self._digests, found)
                self._missing[block], self._left[block] = rejected, len(rejected)
                done += len(numbers) - len(rejected)
        return done

    def missing(self) -> Iterator[tuple[int, Sequence[int]]]:
        """Of each block the inputs that are to be scanned."""
        return enumerate(self._missing)

    def add(self, scanned: ScannedBlock) -> None:
        """Enter what was found of some inputs of a block."""
        _enter(self._collection, self._digests, scanned)
        self._left[scanned.block] -= len(scanned.numbers)
        if self._finished and not self._left[scanned.block]:
            self._finished.save(scanned.block, self._found(scanned.block))

    def _found(self, block: int) -> ScannedBlock:
        collection, numbers = self._collection, np.array(self._blocks[block], np.int64)
        reasons, notes = (
            {number: texts[number] for number in numbers.tolist() if number in texts}
            for texts in (collection.rejects, collection.notes)
        )
        return ScannedBlock(
            block, numbers, collection.sha256[numbers], collection.sizes[numbers], self._digests[numbers],
            collection.lengths[numbers], reasons, notes, [],
        )  # fmt: skip


def _work(collection: Collection, blocks: Iterable[tuple[int, Sequence[int]]], apart: bool) -> Iterator[ScanBlock]:
    """The inputs of blocks in pieces, `apart` from their source where other processes scan; these grow until each takes
    long enough to be worth its way.
    """
    start, done, each = time.monotonic(), 0, FEW
    for block, every in blocks:
        first = 0
        while first < len(every):
            numbers = every[first : first + each]
            source, places = collection.source, numbers
            if apart:
                part = source.part(numbers)
                assert part is not None
                source, places = part, range(len(numbers))
                rate = done / max(1e-9, time.monotonic() - start)
                each = min(MANY, max(FEW, 2 * len(numbers) if rate * BLOCK_SECONDS > each else len(numbers)))
            yield ScanBlock(source, places, numbers, collection.cache.has_room, block)
            first += len(numbers)
            done += len(numbers)


def scan_blocks(order: ScanOrder, works: Iterable[ScanBlock], report: Report) -> Iterator[ScannedBlock]:
    """The job of a worker: blocks in, what the scan found out."""
    return ordered_map(lambda block: _scan_block(order, block), works)


def _scan_block(order: ScanOrder, block: ScanBlock) -> ScannedBlock:
    count, kept = len(block.numbers), list[tuple[int, Pixels]]()
    found = ScannedBlock(
        block.block, block.numbers, np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int32),
        np.zeros((count, 2), np.uint64), np.full(count, -1, np.int64), {}, {}, [],
    )  # fmt: skip
    for row, (place, number) in enumerate(zip(block.places, block.numbers, strict=True)):
        try:
            picture, content = _scan_one(order, block.source, place)
        except RejectedImage as reason:
            found.reasons[number] = str(reason)
            continue
        pixels, shape = picture.pixels, np.array(picture.pixels.shape[:2], np.int32)
        found.sha256[row], found.sizes[row] = np.frombuffer(content.sha256, np.uint8), shape
        found.lengths[row] = content.size
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


def _scan_one(order: ScanOrder, source: Source, place: int) -> tuple[Decoded, Content]:
    """A picture, and what was read. Raises `RejectedImage`."""
    entry = source.entry(place)
    if entry.reason or (entry.label is None and source.classes):
        raise RejectedImage(entry.reason or "has no label")
    picture, content = read(source, place, order.decoding, order.resolution, entry.box)
    height, width = picture.pixels.shape[:2]
    if order.longest and max(height, width) > order.longest:
        raise RejectedImage(f"{width} × {height} pixels, above {order.longest} per side, the maximum of the format")
    return picture, content


def _enter(collection: Collection, digests: NDArray[np.uint64], block: ScannedBlock) -> None:
    """Put what a block's scan found into the collection."""
    numbers = np.asarray(block.numbers, np.int64)
    collection.sha256[numbers], collection.sizes[numbers] = block.sha256, block.sizes
    digests[numbers], collection.lengths[numbers] = block.digests, block.lengths
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
            collection.rejects[number] = f"{SAME_PIXELS} {collection.source.entry(first).name}"
            collection.sizes[number] = 0
    if what == "reject":
        collection.rejects = dict(sorted(collection.rejects.items()))
