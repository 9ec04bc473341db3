"""Protected pixels against the clean ones: the budget (invariant 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..shards import Shards
from .failure import Failure
from .originals import Originals

_TOGETHER = 1 << 26  # values that are compared with their originals at once


@dataclass
class Comparison:
    """Samples are compared with their originals, many at once."""

    shards: Shards
    originals: Originals
    failures: list[Failure]  # to which it adds
    compared: int = 0  # samples
    linf_max: int | None = None  # grey levels
    _waiting: dict[str, tuple[NDArray[np.uint8], int | None]] = field(default_factory=dict)  # pixels, stated linf
    _values: int = 0  # that wait

    def add(self, tar: str, key: str, picture: NDArray[np.uint8], stated: int | None) -> None:
        """A picture of the shard `tar`, whose noise is `stated` in grey levels, if anywhere."""
        self._waiting[key] = picture, stated
        self._values += picture.size
        if self._values > _TOGETHER:
            self.finish(tar)

    def finish(self, tar: str) -> None:
        """Compare what waits."""
        clean, keys, missing = self.originals.pictures(list(self._waiting))
        self.failures += [Failure(tar, key, reason) for key, reason in missing.items()]
        for key, original in zip(keys, clean, strict=True):
            self._compare(tar, key, original, *self._waiting[key])
        self._waiting, self._values = {}, 0

    def _compare(
        self, tar: str, key: str, original: NDArray[np.uint8], picture: NDArray[np.uint8], stated: int | None
    ) -> None:
        def fail(problem: str) -> None:
            self.failures.append(Failure(tar, key, problem))

        if picture.shape != original.shape:
            fail("has another size than its original")
            return
        linf, budget = int(cv2.norm(picture, original, cv2.NORM_INF)), self.shards.budget
        self.compared += 1
        self.linf_max = max(self.linf_max or 0, linf)
        if self.shards.lossless and linf > budget:
            fail(f"differs by {linf}/255, the budget is {budget}/255")
        elif stated not in (None, linf):
            fail(f"differs by {linf}/255, .json says {stated}/255")
        if linf == 0:
            fail("is the clean original: it carries no noise")
