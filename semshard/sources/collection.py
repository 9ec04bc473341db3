"""A source that was scanned: which inputs are usable, what they are, and their pixels on demand.

The scan (`scanning`) decodes every input once, before any expensive work, so that bad files are known after a minute
and not in the middle of the night. Of each input it keeps a hundred bytes: hashes, size, label. Pixels stay in memory
up to a bound that does not depend on the collection; the others are decoded again when they are needed, and an input
whose bytes have changed since is refused.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from ..settings import LARGE, Size
from ..threads import ordered_map
from .decode import Decoded, Decoding, decode, resize
from .image_metadata import Metadata, reservation
from .source import Box, Source

CACHE_BYTES = 1 << 30  # of decoded pixels that are kept, at most
PART_BYTES = 1 << 26  # of those that travel with a part, at most
Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
K = TypeVar("K")


@dataclass
class Cache:
    """Pictures by (input, side of the copy), up to a number of bytes; the first ones stay."""

    most: int = CACHE_BYTES
    _kept: dict[tuple[int, int], Pixels] = field(default_factory=dict)
    _bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __getstate__(self) -> tuple[int, list[tuple[list[tuple[int, int]], Pixels]]]:
        return self.most, stacked(self._kept.items())

    def __setstate__(self, state: tuple[int, list[tuple[list[tuple[int, int]], Pixels]]]) -> None:
        self.__init__(state[0])  # type: ignore[misc]
        self._kept.update(unstacked(state[1]))
        self._bytes = sum(pixels.nbytes for pixels in self._kept.values())

    @property
    def has_room(self) -> bool:
        return self._bytes < self.most

    def get(self, key: tuple[int, int]) -> Pixels | None:
        return self._kept.get(key)

    def put(self, key: tuple[int, int], pixels: Pixels) -> None:
        with self._lock:
            if key not in self._kept and self._bytes + pixels.nbytes <= self.most:
                self._kept[key] = pixels
                self._bytes += pixels.nbytes


@dataclass(frozen=True)
class Origin:
    """Where a part of a collection comes from."""

    numbers: NDArray[np.int64]  # of its inputs, in the whole
    size: Size  # of every image of the whole, as `Collection.size`


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
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # (inputs,), bytes, of a scan
    origin: Origin | None = None  # where this is a part of another collection

    def part(self, numbers: NDArray[np.int64], most: int = PART_BYTES) -> Collection | None:
        """Those inputs alone, numbered from 0, as another process can have them, with up to `most` bytes of the pixels
        in the cache; None where only this process can read the source.
        """
        source = self.source.part(numbers.tolist())
        if source is None:
            return None
        cache = Cache()
        for place, number in enumerate(numbers.tolist() if not source.pixels_in_parts else []):
            kept = self.cache.get((number, 0))
            most -= kept.nbytes if kept is not None else 0
            if kept is not None and most >= 0:
                cache.put((place, 0), kept)
        cache.most = 0  # a worker reads every picture once
        rejects = {place: self.rejects[n] for place, n in enumerate(numbers.tolist()) if n in self.rejects}
        return Collection(
            source, self.decoding, self.resolution, self.sha256[numbers], self.sizes[numbers], self.labels[numbers],
            rejects, self.classes, cache=cache, origin=Origin(self.numbers_in_whole(numbers), self.size),
        )  # fmt: skip

    def numbers_in_whole(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of those inputs in the collection that this is a part of; the same where it is none."""
        return numbers if self.origin is None else self.origin.numbers[numbers]

    @property
    def usable(self) -> NDArray[np.int64]:
        """Numbers of the inputs that are not rejected, in order."""
        return np.setdiff1d(np.arange(len(self.source)), np.fromiter(self.rejects, np.int64, len(self.rejects)))

    @property
    def size(self) -> Size:
        """(height, width) of every usable image; None where they are photographs, each at its own resolution."""
        if self.origin is not None:
            return self.origin.size
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
        sha256 = self.sha256[number].tobytes()
        return sha256.hex() if any(sha256) else None

    def decoded(self, number: int) -> Decoded:
        """The picture as it is published. Raises `RejectedImage` where the input is no longer what was scanned."""
        picture, content = read(self.source, number, self.decoding, self.resolution, self.source.entry(number).box)
        if content.sha256 != self.sha256[number].tobytes():
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


@dataclass(frozen=True)
class Content:
    """What a source has read, a file's bytes or pixels, in short."""

    sha256: bytes
    size: int  # bytes

    @classmethod
    def of(cls, content: bytes | Pixels) -> Content:
        data = content if isinstance(content, bytes) else content.tobytes()
        return cls(hashlib.sha256(data).digest(), len(data))


def has_bytes(source: Source, number: int, sha256: bytes | None) -> bool:
    """Whether an input of a source can be read, and has that SHA-256."""
    try:
        return Content.of(source.read(number)).sha256 == sha256
    except RejectedImage:
        return False


def read(source: Source, number: int, decoding: Decoding, resolution: int, box: Box | None) -> tuple[Decoded, Content]:
    """A picture of a source, or its `box`, and what was read. Raises `RejectedImage`."""
    content = source.read(number)
    if isinstance(content, bytes):
        picture = decode(content, decoding, box)
    else:
        picture = Decoded(content, "", Metadata(xmp=reservation(decoding.reserve)))
    if resolution:
        picture = replace(picture, pixels=resize(picture.pixels, resolution))
    return picture, Content.of(content)


def stacked(pictures: Iterable[tuple[K, Pixels]]) -> list[tuple[list[K], Pixels]]:
    """Pictures by key as one array (N, H, W, 3) for each size: thousands of small arrays would take long to pickle."""
    of_size: dict[tuple[int, ...], list[tuple[K, Pixels]]] = defaultdict(list)
    for key, pixels in pictures:
        of_size[pixels.shape].append((key, pixels))
    return [([key for key, _ in some], np.stack([pixels for _, pixels in some])) for some in of_size.values()]


def unstacked(stacks: Iterable[tuple[list[K], Pixels]]) -> Iterator[tuple[K, Pixels]]:
    """What `stacked` was given."""
    for keys, pictures in stacks:
        yield from zip(keys, pictures, strict=True)


def squash(pixels: Pixels, side: int) -> Pixels:
    """`pixels` at side × side: area means where it shrinks, bilinear where it grows."""
    height, width = pixels.shape[:2]
    small = min(width, side), min(height, side)
    if small != (width, height):
        pixels = np.asarray(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA), np.uint8)
    if small != (side, side):
        pixels = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return pixels


def unscanned(source: Source, decoding: Decoding, resolution: int) -> Collection:
    """A collection of which nothing is known yet."""
    count = len(source)
    sha256, sizes = np.zeros((count, 32), np.uint8), np.zeros((count, 2), np.int32)
    labels, lengths = np.full(count, -1, np.int32), np.full(count, -1, np.int64)
    return Collection(source, decoding, resolution, sha256, sizes, labels, {}, source.classes, lengths=lengths)


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
