"""A source that was scanned: which inputs are usable, what they are, and their pixels on demand.

The scan decodes every input once, before any expensive work, so that bad files are known after a minute and not in the
middle of the night. Of each input it keeps a hundred bytes: hashes, size, label. Pixels stay in memory up to a bound
that does not depend on the collection; the others are decoded again when they are needed, and an input whose bytes
have changed since is refused.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from ..settings import LARGE, Size
from ..threads import ordered_map
from .decode import Decoded, Decoding, decode, resize
from .image_metadata import Metadata
from .source import Source

CACHE_BYTES = 1 << 30  # of decoded pixels that are kept, at most
Pixels = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass
class Cache:
    """Pictures by (input, side of the copy), up to a number of bytes; the first ones stay."""

    most: int = CACHE_BYTES
    _kept: dict[tuple[int, int], Pixels] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: tuple[int, int]) -> Pixels | None:
        return self._kept.get(key)

    def put(self, key: tuple[int, int], pixels: Pixels) -> None:
        with self._lock:
            if key not in self._kept and self._bytes + pixels.nbytes <= self.most:
                self._kept[key] = pixels
                self._bytes += pixels.nbytes


@dataclass
class Collection:
    """Scanned inputs of a source, numbered as in the source."""

    source: Source
    decoding: Decoding
    resolution: int  # 0 keeps every pixel
    sha256: NDArray[np.uint8]  # (inputs, 32), of what was read; zero where nothing could be
    sizes: NDArray[np.int32]  # (inputs, 2), height and width of the pixels; zero for rejects
    labels: NDArray[np.int32]  # (inputs,); −1 where there is none
    rejects: dict[int, str]  # number → reason
    classes: tuple[str, ...]
    notes: dict[int, str] = field(default_factory=dict)  # number → what was done that the owner may not expect
    duplicates: int = 0  # usable inputs with the pixels of an earlier one
    cache: Cache = field(default_factory=Cache)

    @property
    def usable(self) -> NDArray[np.int64]:
        """Numbers of the inputs that are not rejected, in order."""
        return np.setdiff1d(np.arange(len(self.source)), np.fromiter(self.rejects, np.int64, len(self.rejects)))

    @property
    def size(self) -> Size:
        """(height, width) of every usable image; None where they are photographs, each at its own resolution."""
        sizes = self.sizes[self.sizes[:, 0] > 0]
        same = len(sizes) and (sizes == sizes[0]).all() and (self.resolution or sizes[0].max() <= LARGE)
        return (int(sizes[0, 0]), int(sizes[0, 1])) if same else None

    @property
    def in_memory(self) -> bool:
        """Whether the pixels of all usable inputs are kept."""
        return all(self.cache.get((number, 0)) is not None for number in self.usable.tolist())

    def label(self, number: int) -> int:
        return int(self.labels[number])

    def digest(self, number: int) -> str | None:
        """SHA-256, in hex, of what was read; None where nothing could be."""
        return self.sha256[number].tobytes().hex() if self.sha256[number].any() else None

    def decoded(self, number: int) -> Decoded:
        """The picture as it is published. Raises `RejectedImage` where the input is no longer what was scanned."""
        picture, sha256 = read(self.source, number, self.decoding, self.resolution)
        if sha256 != self.sha256[number].tobytes():
            raise RejectedImage("changed since it was scanned")
        return picture

    def pixels(self, number: int, squashed: int = 0) -> Pixels:
        """uint8 (H, W, 3) RGB; with `squashed` > 0 that many pixels per side. Raises as `decoded` does."""
        key = number, squashed
        kept = self.cache.get(key)
        if kept is None:
            kept = self.cache.get((number, 0))
            kept = self.decoded(number).pixels if kept is None else kept
            kept = squash(kept, squashed) if squashed else kept
            if squashed or max(kept.shape) <= LARGE or self.resolution:
                self.cache.put(key, kept)
        return kept

    def several(
        self, numbers: NDArray[np.int64], squashed: int = 0
    ) -> tuple[list[Pixels], NDArray[np.int64], dict[int, str]]:
        """Pixels of those `numbers` that can be read, these numbers, and the reasons of the others."""
        kept = [pixels for n in numbers.tolist() if (pixels := self.cache.get((n, squashed))) is not None]
        if len(kept) == len(numbers):
            return kept, numbers, {}  # no threads for what is in memory
        return self.several_of(numbers, lambda number: self.pixels(number, squashed))

    def several_of(
        self, numbers: NDArray[np.int64], one: Callable[[int], Pixels]
    ) -> tuple[list[Pixels], NDArray[np.int64], dict[int, str]]:
        """The same with the pixels that `one` returns for a number; it may raise `RejectedImage`."""

        def attempt(number: np.int64) -> Pixels | RejectedImage:
            try:
                return one(int(number))
            except RejectedImage as reason:
                return reason

        results = list(ordered_map(attempt, numbers))
        rejects = {int(n): str(r) for n, r in zip(numbers, results, strict=True) if isinstance(r, RejectedImage)}
        kept = [int(n) for n in numbers if int(n) not in rejects]
        return [r for r in results if not isinstance(r, RejectedImage)], np.array(kept, np.int64), rejects

    def stack(self, numbers: NDArray[np.int64], squashed: int = 0) -> tuple[Pixels, NDArray[np.int64], dict[int, str]]:
        """`several` of one size as one array (n, H, W, 3)."""
        pixels, kept, rejects = self.several(numbers, squashed)
        height, width = (squashed, squashed) if squashed else self.size or (0, 0)
        return np.stack(pixels) if pixels else np.zeros((0, height, width, 3), np.uint8), kept, rejects


def read(source: Source, number: int, decoding: Decoding, resolution: int) -> tuple[Decoded, bytes]:
    """A picture of a source and the SHA-256 of what was read. Raises `RejectedImage`."""
    content, box = source.read(number), source.entry(number).box
    if isinstance(content, bytes):
        picture, sha256 = decode(content, decoding, box), hashlib.sha256(content).digest()
    else:
        picture, sha256 = Decoded(content, "", Metadata()), hashlib.sha256(content.tobytes()).digest()
    if resolution:
        picture = Decoded(resize(picture.pixels, resolution), picture.note, Metadata())
    return picture, sha256


def squash(pixels: Pixels, side: int) -> Pixels:
    """`pixels` at side × side: area means where it shrinks, bilinear where it grows."""
    height, width = pixels.shape[:2]
    small = min(width, side), min(height, side)
    if small != (width, height):
        pixels = np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), np.uint8)
    if small != (side, side):
        pixels = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return pixels


@dataclass(frozen=True)
class Scanned:
    """What the scan of one input gave."""

    reason: str = ""
    sha256: bytes = bytes(32)
    size: tuple[int, int] = (0, 0)
    digest: bytes = bytes(16)  # of the pixels
    note: str = ""


def unscanned(source: Source, decoding: Decoding, resolution: int) -> Collection:
    """A collection of which nothing is known yet."""
    count = len(source)
    sha256, sizes = np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int32)
    labels = np.full(count, -1, np.int32)
    return Collection(source, decoding, resolution, sha256, sizes, labels, {}, source.classes)


def scan(
    source: Source,
    decoding: Decoding | None = None,
    resolution: int = 0,
    numbers: Sequence[int] | None = None,
    *,
    duplicates: str = "keep",
    longest: int | None = None,
    advance: Callable[[int, int], None] = lambda done, rejected: None,
) -> Collection:
    """Decode every input once, or those with the given `numbers`. `advance(inputs done, rejects)` follows each.

    Images with a side above `longest` are rejected, those with the pixels of an earlier one where `duplicates` is
    "reject".

    Raises `SourceError` where all inputs belong to one class, or a class has a single one, before any is read; and
    where none is usable.
    """
    collection = unscanned(source, decoding or Decoding(), resolution)
    scan_into(collection, numbers, duplicates=duplicates, longest=longest, advance=advance)
    return collection


def scan_into(
    collection: Collection,
    numbers: Sequence[int] | None = None,
    *,
    duplicates: str = "keep",
    longest: int | None = None,
    advance: Callable[[int, int], None] = lambda done, rejected: None,
) -> None:
    """What `scan` does, in a collection that nothing is known of yet; its cache says how many pixels are kept."""
    source = collection.source
    digests = np.zeros((len(source), 2), np.uint64)
    chosen = range(len(source)) if numbers is None else numbers
    for number in chosen:
        label = source.entry(number).label
        collection.labels[number] = -1 if label is None else label
    if numbers is None and source.classes:
        check_classes(collection, np.flatnonzero(collection.labels >= 0), "images")
    results = ordered_map(lambda number: _scan_one(collection, number, longest), chosen)
    for done, (number, scanned) in enumerate(zip(chosen, results, strict=True), 1):
        collection.sha256[number] = np.frombuffer(scanned.sha256, np.uint8)
        collection.sizes[number] = scanned.size
        digests[number] = np.frombuffer(scanned.digest, np.uint64)
        if scanned.reason:
            collection.rejects[number] = scanned.reason
        if scanned.note:
            collection.notes[number] = scanned.note
        advance(done, len(collection.rejects))
    _find_duplicates(collection, digests, duplicates)
    usable = collection.usable if numbers is None else np.setdiff1d(chosen, list(collection.rejects))
    if not len(usable):
        reason = next(iter(collection.rejects.values()), "there are none")
        raise SourceError(f"{source.spec} holds no usable image; the first is rejected because: {reason}")


def _scan_one(collection: Collection, number: int, longest: int | None) -> Scanned:
    source, entry = collection.source, collection.source.entry(number)
    if entry.reason or (entry.label is None and source.classes):
        return Scanned(entry.reason or "has no label")
    try:
        picture, sha256 = read(source, number, collection.decoding, collection.resolution)
    except RejectedImage as reason:
        return Scanned(str(reason))
    pixels = picture.pixels
    if longest and max(pixels.shape) > longest:
        return Scanned(
            f"{pixels.shape[1]} × {pixels.shape[0]} pixels, above {longest} per side, the maximum of the format"
        )
    if max(pixels.shape) <= LARGE or collection.resolution:  # of larger ones the training keeps small copies
        collection.cache.put((number, 0), pixels)
    shape = np.array(pixels.shape[:2], np.int32)
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16, key=shape.tobytes()).digest()
    return Scanned("", sha256, (int(shape[0]), int(shape[1])), digest, picture.note)


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


def check_classes(
    collection: Collection, numbers: NDArray[np.int64] | None = None, what: str = "usable images"
) -> None:
    """Raise `SourceError` where the images, by default all usable ones, are of one class only, or a class has one."""
    numbers = collection.usable if numbers is None else numbers
    counts = np.bincount(collection.labels[numbers], minlength=len(collection.classes))
    names, where = collection.classes, collection.source.spec
    if (counts > 0).sum() < 2:
        name = names[int(counts.argmax())]
        raise SourceError(f"{where} holds {what} of one class only ({name}); noise needs at least two")
    few = [names[label] for label in np.flatnonzero(counts < 2)]
    if few:
        more = f" and {len(few) - 3} more" if len(few) > 3 else ""
        raise SourceError(
            f"{where}: fewer than two {what} in class {', '.join(few[:3])}{more}; "
            "add images, or merge the class with another"
        )


def with_groups(collection: Collection, labels: Mapping[int, int], names: tuple[str, ...]) -> None:
    """Give images without labels those of groups: number → label."""
    for number, label in labels.items():
        collection.labels[number] = label
    collection.classes = names


SQUASHED = 2  # a network is trained on copies of photographs of this many times the side of a view, in pixels
