"""Protected pixels against the clean ones: budget (invariant 1), label, the noise itself, what filters leave of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards import Shards, decode_picture, encode_pictures
from .failure import Failure
from .originals import Originals
from .remainder import Remainder
from .repeated_noise import RepeatedNoise
from .sample import ReadSample

_TOGETHER = 1 << 26  # values that are compared with their originals at once
_ROUNDED = 1.5e-4  # dB: the mean that a shard states has four places


@dataclass
class Comparison:
    """Samples are compared with their originals, many at once."""

    shards: Shards
    originals: Originals
    failures: list[Failure]  # to which it adds
    remainder: Remainder  # what simple filters leave of the noise
    compared: int = 0  # samples
    linf_max: int | None = None  # grey levels
    _waiting: dict[str, tuple[NDArray[np.uint8], int, int | None]] = field(default_factory=dict)
    _values: int = 0  # that wait
    _psnr: list[float] = field(default_factory=list)  # of the samples of this shard that differ from their originals
    _of_shard: int = 0  # samples of it that were compared

    def __post_init__(self) -> None:
        self._repeated = RepeatedNoise(self.shards)
        ours, theirs = self.shards.classes, self.originals.collection.source.classes
        self._class_names = theirs if set(theirs) <= set(ours) else ()

    def add(self, tar: str, key: str, sample: ReadSample, stated: int | None) -> None:
        """A sample of the shard `tar`, whose noise is `stated` in grey levels, if anywhere."""
        if sample.picture is None:
            return
        self._waiting[key] = sample.picture, sample.label, stated
        self._values += sample.picture.size
        if self._values > _TOGETHER:
            self._compare_waiting(tar)

    def finish_shard(self, tar: str, entry: dict[str, Any]) -> None:
        """Compare what waits, and the mean of the shard with what its `entry` in the manifest says."""
        self._compare_waiting(tar)
        mean = sum(self._psnr) / len(self._psnr) if self._psnr else 0.0
        if self._of_shard == entry["samples"] and abs(round(mean, 4) - entry["psnr_mean"]) > _ROUNDED:
            self.failures.append(Failure(tar, "", f"has a mean PSNR of {mean:.4f} dB, not {entry['psnr_mean']} dB"))
        self._psnr, self._of_shard = [], 0

    def finish(self) -> None:
        """Report what only all samples together show."""
        self.failures += self._repeated.failures()

    def _compare_waiting(self, tar: str) -> None:
        if not self._waiting:
            return
        clean, keys, missing = self.originals.pictures(list(self._waiting))
        self.failures += [Failure(tar, key, reason) for key, reason in missing.items()]
        for key, original in zip(keys, clean, strict=True):
            self.failures += [Failure(tar, key, problem) for problem in self._compare(key, original)]
        self._waiting, self._values = {}, 0

    def _compare(self, key: str, original: NDArray[np.uint8]) -> list[str]:
        """What is wrong with a sample beside its original."""
        picture, label, stated = self._waiting[key]
        if picture.shape != original.shape:
            return ["has another size than its original"]
        problems = self._check_label(key, label)
        linf, budget = int(cv2.norm(picture, original, cv2.NORM_INF)), self.shards.budget
        squares = cv2.norm(picture, original, cv2.NORM_L2SQR)
        self.compared += 1
        self._of_shard += 1
        self.linf_max = max(self.linf_max or 0, linf)
        if squares:
            self._psnr.append(10 * math.log10(255**2 / (squares / picture.size)))
        if self.shards.lossless and linf > budget:
            problems.append(f"differs by {linf}/255, the budget is {budget}/255")
        elif stated not in (None, linf):
            problems.append(f"differs by {linf}/255, .json says {stated}/255")
        if linf == 0 or self._is_only_compressed(picture, original):
            problems.append("is the clean original: it carries no noise")
        self._repeated.add(key, label, original, picture)
        self.remainder.add(original, picture)
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
