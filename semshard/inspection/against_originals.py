"""Protected pixels against the clean ones: budget (invariant 1), label, the noise itself, what filters leave of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards import Shards, decode_picture, encode_pictures
from ..sources.decode import Decoded
from ..sources.image_metadata import Metadata
from .findings import ShardFindings
from .originals import Originals
from .remainder import Remainder
from .repeated_noise import NoiseOfShard, promises_own_noise
from .rights import BLOCKS
from .sample import ReadSample

_TOGETHER = 1 << 26  # values that are compared with their originals at once
_ROUNDED = 1.5e-4  # dB: the mean that a shard states has four places


@dataclass(frozen=True)
class _Waiting:
    """A sample that has not been compared yet."""

    picture: NDArray[np.uint8]
    label: int
    stated: int | None  # its noise in grey levels, as its row says
    number: int  # among all samples that are audited
    metadata: Metadata | None  # of its file; None where it is not to be compared


@dataclass
class Comparison:
    """The samples of one shard are compared with their originals, many at once, and what is found is added to `found`.

    `samples` is the number of all that are audited, of which this shard begins with number `first`.
    """

    shards: Shards
    originals: Originals
    found: ShardFindings
    tar: str
    first: int
    samples: int
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _values: int = 0  # that wait
    _psnr: list[float] = field(default_factory=list)  # of the samples that differ from their originals

    def __post_init__(self) -> None:
        self.found.remainder = Remainder(self.shards.manifest["settings"], self.samples)
        self.found.noise = NoiseOfShard() if promises_own_noise(self.shards) else None
        ours, theirs = self.shards.classes, self.originals.collection.source.classes
        self._class_names = theirs if set(theirs) <= set(ours) else ()

    def add(self, key: str, sample: ReadSample, stated: int | None, metadata: Metadata | None) -> None:
        """A sample, whose noise is `stated` in grey levels, if anywhere; `metadata` of its file, to be compared."""
        number, self.first = self.first, self.first + 1
        if sample.picture is None:
            return
        self._waiting[key] = _Waiting(sample.picture, sample.label, stated, number, metadata)
        self._values += sample.picture.size
        if self._values > _TOGETHER:
            self._compare_waiting()

    def finish(self, samples: int, psnr_mean: float) -> None:
        """Compare what waits, and the mean with that of a shard of so many samples, as the manifest has it."""
        self._compare_waiting()
        mean = sum(self._psnr) / len(self._psnr) if self._psnr else 0.0
        if self.found.compared == samples and abs(round(mean, 4) - psnr_mean) > _ROUNDED:
            self.found.fail(self.tar, f"has a mean PSNR of {mean:.4f} dB, not {psnr_mean} dB")

    def _compare_waiting(self) -> None:
        if not self._waiting:
            return
        with_metadata = any(each.metadata is not None for each in self._waiting.values())
        clean, missing = self.originals.decoded(list(self._waiting), with_metadata)
        for key, reason in missing.items():
            self.found.fail(self.tar, reason, key)
        for key, original in clean.items():
            for problem in self._compare(key, original):
                self.found.fail(self.tar, problem, key)
        self._waiting, self._values = {}, 0

    def _compare(self, key: str, decoded: Decoded) -> list[str]:
        """What is wrong with a sample beside its original."""
        sample, original = self._waiting[key], decoded.pixels
        picture, label = sample.picture, sample.label
        found, problems = self.found, list(_different_metadata(sample.metadata, decoded.metadata))
        if picture.shape != original.shape:
            return [*problems, "has another size than its original"]
        problems += self._check_label(key, label)
        linf, budget = int(cv2.norm(picture, original, cv2.NORM_INF)), self.shards.budget
        squares = cv2.norm(picture, original, cv2.NORM_L2SQR)
        found.compared += 1
        found.linf_max = max(found.linf_max or 0, linf)
        if squares:
            self._psnr.append(10 * math.log10(255**2 / (squares / picture.size)))
        if self.shards.lossless and linf > budget:
            problems.append(f"differs by {linf}/255, the budget is {budget}/255")
        elif sample.stated not in (None, linf):
            problems.append(f"differs by {linf}/255, .json says {sample.stated}/255")
        if linf == 0 or self._is_only_compressed(picture, original):
            problems.append("is the clean original: it carries no noise")
        if found.noise:
            found.noise.add(key, label, original, picture)
        if found.remainder:
            found.remainder.add(original, picture, sample.number)
        return problems

    def _check_label(self, key: str, label: int) -> list[str]:
        """By the class that the source has it in; a source without labels, or with other classes, says nothing."""
        entry = self.originals.collection.source.entry(self.originals.numbers[key])
        if not self._class_names or entry.label is None or not 0 <= label < len(self.shards.classes):
            return []
        here, there = self.shards.classes[label], self._class_names[entry.label]
        return [] if here == there else [f"is published as {here!r}, its original is of class {there!r}"]

    def _is_only_compressed(self, picture: NDArray[np.uint8], original: NDArray[np.uint8]) -> bool:
        """Whether it is what JPEG makes of the original itself."""
        if self.shards.lossless:
            return False
        quality = self.shards.manifest["settings"].get("quality", 95)
        return bool((decode_picture(encode_pictures(original[None], "jpeg", quality)[0], "jpeg") == picture).all())


def _different_metadata(found: Metadata | None, expected: Metadata) -> Iterator[str]:
    """Where the metadata of an image is not what its original gives."""
    for name, what in BLOCKS.items():
        if found is not None and getattr(found, name) != getattr(expected, name):
            yield f"its {what} is not what its original gives"
