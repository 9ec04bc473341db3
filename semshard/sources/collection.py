"""A source that was scanned: which inputs are usable, what they are, and their pixels on demand.

The scan decodes every input once, before any expensive work, so that bad files and mixed sizes are known in a minute
and not at four in the morning. Pixels stay in memory while they fit into `CACHE_SHARE` of what is free; otherwise
they are decoded again when they are asked for, and an input whose bytes changed meanwhile is refused.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..errors import RejectedImage, SourceError
from ..threads import ordered_map
from .decode import resize
from .source import Loaded, Source

CACHE_SHARE = 0.25


@dataclass
class Collection:
    """Scanned inputs of a source, numbered as in the source."""

    source: Source
    resolution: int  # 0 keeps every pixel
    size: tuple[int, int]  # (height, width), of every usable input
    sha256: list[str | None]  # per input; None where it could not be read
    rejects: dict[int, str]  # number → reason
    keep: bool = True  # pixels in memory, where they fit
    _cache: NDArray[np.uint8] | None = None  # (inputs, H, W, 3)
    _cached: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    _making: threading.Lock = field(default_factory=threading.Lock)  # one thread makes the cache that all fill

    @property
    def usable(self) -> NDArray[np.int64]:
        """Numbers of the inputs that are not rejected, in order."""
        return np.setdiff1d(np.arange(len(self.source)), np.fromiter(self.rejects, np.int64, len(self.rejects)))

    @property
    def in_memory(self) -> bool:
        """Whether the pixels of all usable inputs are kept."""
        return self._cache is not None and bool(self._cached[self.usable].all())

    def label(self, number: int) -> int:
        label = self.source.entry(number).label
        assert label is not None, "inputs without a class are rejected by the scan"
        return label

    def pixels(self, number: int) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) RGB. Raises `RejectedImage` where the input is no longer what was scanned."""
        if self._cache is not None and self._cached[number]:
            return cast(NDArray[np.uint8], self._cache[number])
        loaded = self.source.load(number)
        if loaded.sha256 != self.sha256[number]:
            raise RejectedImage("changed since it was scanned")
        pixels = resize(loaded.pixels, self.resolution) if self.resolution else loaded.pixels
        self._keep(number, pixels)
        return pixels

    def stack(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64], dict[int, str]]:
        """Pixels (n, H, W, 3) of those `numbers` that can be had, which these are, and why the others cannot."""
        if self._cache is not None and self._cached[numbers].all():
            return self._cache[numbers], numbers, {}

        def one(number: np.int64) -> NDArray[np.uint8] | RejectedImage:
            try:
                return self.pixels(int(number))
            except RejectedImage as reason:
                return reason

        found = list(ordered_map(one, numbers))
        rejects = {int(n): str(f) for n, f in zip(numbers, found, strict=True) if isinstance(f, RejectedImage)}
        kept = [int(n) for n in numbers if int(n) not in rejects]
        pixels = [f for f in found if not isinstance(f, RejectedImage)]
        empty = np.zeros((0, *self.size, 3), np.uint8)
        return np.stack(pixels) if pixels else empty, np.array(kept, np.int64), rejects

    def _keep(self, number: int, pixels: NDArray[np.uint8]) -> None:
        if not self.keep:
            return
        with self._making:
            if self._cache is None:
                total = len(self.source) * pixels.nbytes
                if total > CACHE_SHARE * free_memory():
                    return
                self._cached = np.zeros(len(self.source), bool)
                self._cache = np.zeros((len(self.source), *pixels.shape), np.uint8)
        self._cache[number] = pixels
        self._cached[number] = True


def scan(
    source: Source,
    resolution: int = 0,
    numbers: Sequence[int] | None = None,
    advance: Callable[[int, int], None] = lambda done, rejected: None,
) -> Collection:
    """Decode every input once, or those with the given `numbers`. `advance(inputs done, rejects)` follows each.

    Raises `SourceError` where usable inputs differ in size and no resolution is given, or where none is usable.
    """
    collection = Collection(source, resolution, (0, 0), [None] * len(source), {})
    first = -1

    def load(number: int) -> Loaded | RejectedImage:
        if source.entry(number).label is None:
            return RejectedImage("not in a class folder")
        try:
            return source.load(number)
        except RejectedImage as reason:
            return reason

    numbers = range(len(source)) if numbers is None else numbers
    for done, (number, loaded) in enumerate(zip(numbers, ordered_map(load, numbers), strict=True), 1):
        if isinstance(loaded, RejectedImage):
            collection.rejects[number] = str(loaded)
        else:
            pixels = resize(loaded.pixels, resolution) if resolution else loaded.pixels
            size = (pixels.shape[0], pixels.shape[1])
            if first < 0:
                first, collection.size = number, size
            if size != collection.size:
                raise SourceError(
                    f"images differ in size: {_size(collection.size)} ({source.entry(first).name}) and "
                    f"{_size(size)} ({source.entry(number).name}); give --resolution N to bring all to N × N"
                )
            collection.sha256[number] = loaded.sha256
            collection._keep(number, pixels)
        advance(done, len(collection.rejects))
    if first < 0:
        reason = next(iter(collection.rejects.values()))
        raise SourceError(f"{source.spec} holds no usable image; the first is rejected because: {reason}")
    return collection


def free_memory() -> int:
    """Bytes that can be taken without swapping."""
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]} × {size[0]}"
