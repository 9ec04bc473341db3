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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..shards import Shards, code_of, key_of, tar_of
from .failure import Failure

REPEATS = ("sc", "ntga")  # methods whose noise may repeat
PART = 64  # pixels of a part, at least
_SIDE = 3  # parts a side, at most
_PARTS = 3  # that are equal: fewer could be by chance
_WINDOW = 64  # pixels a side that are compared within a class, at most
_EQUAL = 0.99  # share of equal values from which noise is the same
_KNOWN = 1 << 15  # samples whose noise is remembered
_WHOLE_CLASS = 0.9  # share of a class from which the whole class is named instead of its samples
_LISTED = 20  # samples that are named, at most


@dataclass(frozen=True)
class _First:
    """The first sample of its class: what the noise of others of that class is compared with."""

    code: int
    noise: NDArray[np.int16]  # in the upper left
    free: NDArray[np.bool_]  # where it was not clipped

    def has_noise_of(self, other: _First) -> bool:
        """Whether both have the same noise where neither is clipped."""
        if self.noise.shape != other.noise.shape:
            return False
        both = self.free & other.free
        return bool(both.sum() >= _PARTS * PART and (self.noise == other.noise)[both].mean() >= _EQUAL)


@dataclass(frozen=True)
class _Seen:
    """What is known of the noise of one sample."""

    code: int
    label: int
    original: bytes  # a hash of the clean pixels
    parts: tuple[bytes, ...]  # hashes of parts of the noise
    first: int  # of the shard's samples of this class, the first, where this one has its noise; −1 otherwise


def promises_own_noise(shards: Shards) -> bool:
    """Whether every sample has noise of its own, by what the manifest says of the method and the format."""
    return shards.lossless and shards.manifest["settings"]["method"] not in REPEATS and "plugins" not in shards.manifest


class NoiseOfShard:
    """The noise of the samples of one shard, in hashes."""

    def __init__(self) -> None:
        self.seen: list[_Seen] = []
        self.firsts: dict[int, _First] = {}  # by label

    def add(self, key: str, label: int, clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> None:
        """A sample: pixels uint8 (H, W, 3) before and after."""
        parts = tuple(_parts(clean, protected))
        if len(parts) < _PARTS:
            return
        code, original = code_of(key), hashlib.blake2b(clean.data, digest_size=8).digest()
        here = _First(code, *_visible(clean, protected))
        first = self.firsts.setdefault(label, here)
        same = first.code if first is not here and here.has_noise_of(first) else -1
        self.seen.append(_Seen(code, label, original, parts, same))


class RepeatedNoise:
    """Finds samples whose noise is that of an earlier sample, in all shards together."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._first: dict[bytes, int] = {}  # a part of the noise → the sample that had it first
        self._originals: dict[int, bytes] = {}  # of these samples, a hash
        self._of_first: dict[int, _First] = {}  # by label, in all shards
        self._repeats: list[tuple[int, int, int]] = []  # a sample, its label, the earlier sample
        self._of_class = Counter[int]()

    def add(self, shard: NoiseOfShard) -> None:
        """The samples of a shard; shards come in their order."""
        earlier = {label: self._of_first.setdefault(label, first) for label, first in shard.firsts.items()}
        same = {label: first.has_noise_of(earlier[label]) for label, first in shard.firsts.items()}
        here = {each.code: each.original for each in shard.seen}
        for each in shard.seen:
            one, is_first = earlier[each.label].code, each.code == shard.firsts[each.label].code
            has_that_of_one = same[each.label] and each.code != one and (is_first or each.first >= 0)
            self._add(each, one if has_that_of_one else each.first, here)

    def _add(self, each: _Seen, first: int, here: dict[int, bytes]) -> None:
        """A sample that has the noise of `first`, if that is not −1; `here` are the originals of its own shard."""
        equal = Counter(self._first[part] for part in each.parts if part in self._first)
        self._of_class[each.label] += 1
        other, count = equal.most_common(1)[0] if equal else (-1, 0)
        if count < _PARTS:
            other = first
        # The same picture may get the same noise; the manifest counts such pictures.
        if other >= 0 and self._originals.get(other, here.get(other)) != each.original:
            self._repeats.append((each.code, each.label, other))
        if len(self._originals) < _KNOWN or self._of_first[each.label].code == each.code:
            self._originals[each.code] = each.original
            for part in each.parts:
                self._first.setdefault(part, each.code)

    def failures(self) -> Iterator[Failure]:
        """Classes, and otherwise samples, with the noise of others."""
        repeated = Counter(label for _, label, _ in self._repeats)
        whole = {
            label
            for label, count in repeated.items()
            if count > 1 and count >= _WHOLE_CLASS * (self._of_class[label] - 1)
        }  # fmt: skip
        for label in sorted(whole):
            classes = self._shards.classes
            name = classes[label] if 0 <= label < len(classes) else label
            yield Failure("manifest.json", "", f"the noise is the same for the whole class {name!r}")
        single = [row for row in self._repeats if row[1] not in whole]
        digits = self._shards.digits
        for code, _, other in single[:_LISTED]:
            yield Failure(tar_of(code, digits), key_of(code, digits), f"has the noise of {key_of(other, digits)}")
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
