"""Noise that repeats: of a whole class, or of two samples. Whoever has such noise once can subtract it everywhere.

Every built-in method but two promises noise of its own for each sample; those of plugins promise nothing. Shortcut
noise (sc) draws from a set of patterns of each class; ntga takes the signs of one gradient for a block, and after few
steps those of two samples coincide in part. The noise of a sample is compared with that of the first of its class
where neither is clipped at black or white; and with that of all others part by part, by a hash of each. JPEG changes
the noise of every sample anew: nothing is known of it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..shards import Shards
from .failure import Failure
from .inventory import tar_of

REPEATS = ("sc", "ntga")  # methods whose noise may repeat
PART = 64  # pixels of a part, at least
_SIDE = 3  # parts a side, at most
_PARTS = 3  # that are equal: fewer could be by chance
_WINDOW = 64  # pixels a side that are compared within a class, at most
_EQUAL = 0.99  # share of equal values from which noise is the same
_KNOWN = 1 << 15  # samples whose noise is remembered
_WHOLE_CLASS = 0.9  # share of a class from which the whole class is named instead of its samples
_LISTED = 20  # samples that are named, at most


class RepeatedNoise:
    """Finds samples whose noise is that of an earlier sample."""

    def __init__(self, shards: Shards) -> None:
        promised = shards.manifest["settings"]["method"] not in REPEATS and "plugins" not in shards.manifest
        self._promised = shards.lossless and promised
        self._classes = shards.classes
        self._first: dict[bytes, int] = {}  # a part of the noise → the sample that had it first
        self._originals: dict[int, bytes] = {}  # of these samples, a hash
        self._of_first: dict[int, tuple[int, NDArray[np.int16], NDArray[np.bool_]]] = {}  # by label: see `_visible`
        self._repeats: list[tuple[int, int, int]] = []  # key, its label, the key of the earlier sample
        self._of_class = Counter[int]()

    def add(self, key: str, label: int, clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> None:
        """A sample: pixels uint8 (H, W, 3) before and after."""
        parts = list(_parts(clean, protected)) if self._promised else []
        if len(parts) < _PARTS:
            return
        number, original = int(key), hashlib.blake2b(clean.data, digest_size=8).digest()
        earlier = Counter(self._first[part] for part in parts if part in self._first)
        self._of_class[label] += 1
        other, equal = earlier.most_common(1)[0] if earlier else (-1, 0)
        first = self._first_with_this(number, label, clean, protected)
        if equal < _PARTS:
            other = first
        # The same picture may get the same noise; the manifest counts such pictures.
        if other >= 0 and self._originals.get(other) != original:
            self._repeats.append((number, label, other))
        if len(self._originals) < _KNOWN or self._of_first[label][0] == number:
            self._originals[number] = original
            for part in parts:
                self._first.setdefault(part, number)

    def _first_with_this(self, number: int, label: int, clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> int:
        """The first sample of a class where this one has its noise; −1 where it has its own."""
        noise, free = _visible(clean, protected)
        other, noise_of_other, free_of_other = self._of_first.setdefault(label, (number, noise, free))
        if other == number or noise.shape != noise_of_other.shape:
            return -1
        both = free & free_of_other
        same = both.sum() >= _PARTS * PART and (noise == noise_of_other)[both].mean() >= _EQUAL
        return other if same else -1

    def failures(self) -> Iterator[Failure]:
        """Classes, and otherwise samples, with the noise of others."""
        repeated = Counter(label for _, label, _ in self._repeats)
        whole = {
            label
            for label, count in repeated.items()
            if count > 1 and count >= _WHOLE_CLASS * (self._of_class[label] - 1)
        }  # fmt: skip
        for label in sorted(whole):
            name = self._classes[label] if 0 <= label < len(self._classes) else label
            yield Failure("manifest.json", "", f"the noise is the same for the whole class {name!r}")
        single = [row for row in self._repeats if row[1] not in whole]
        for key, _, other in single[:_LISTED]:
            yield Failure(tar_of(key), f"{key:010d}", f"has the noise of {other:010d}")
        if len(single) > _LISTED:
            yield Failure("manifest.json", "", f"{len(single):,} samples have the noise of an earlier one")


def _visible(clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """The noise in the upper left of a sample, and where it was not clipped."""
    here = np.s_[:_WINDOW, :_WINDOW]
    pixels = protected[here]
    return pixels.astype(np.int16) - clean[here], (pixels > 0) & (pixels < 255)


def _parts(clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> Iterator[bytes]:
    """Hashes of the parts of a sample's noise, of each channel, with their places; parts without noise are left out."""
    height, width = clean.shape[:2]
    side = min(_SIDE, math.isqrt(height * width // PART))
    noise = np.ascontiguousarray((protected - clean).transpose(2, 0, 1))  # modulo 256, which is as good here
    if (noise == noise[:1]).all():  # grey noise: its channels say the same three times
        noise = noise[:1]
    for channel, row, column in np.ndindex(len(noise), side, side):
        rows, columns = (slice(at * n // side, (at + 1) * n // side) for at, n in ((row, height), (column, width)))
        part = noise[channel, rows, columns]
        if part.any():
            about = f"{clean.shape} {channel} {row} {column} ".encode()
            yield hashlib.blake2b(about + part.tobytes(), digest_size=8).digest()
