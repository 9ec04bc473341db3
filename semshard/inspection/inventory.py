"""All samples together, in a few bytes each: what no single shard shows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..shards import Shards, key_of, tar_of
from .failure import Failure
from .findings import ShardFindings

_LISTED = 20  # failures of one kind, at most


class Inventory:
    """The samples that were read."""

    def __init__(self) -> None:
        self.rejected: dict[int, int] = {}  # by shard: inputs that were rejected while it was made, as its stats say
        self._codes, self._labels, self._digests = array("q"), array("q"), array("Q")

    def add(self, found: ShardFindings) -> None:
        """The samples of a shard; shards come in their order."""
        self.rejected[found.shard] = found.rejected
        self._codes.extend(found.codes)
        self._labels.extend(found.labels)
        self._digests.extend(found.digests)

    def __len__(self) -> int:
        return len(np.unique(self._codes))

    @property
    def codes(self) -> NDArray[np.int64]:
        """The key of every sample by `code_of`, in the order of the shards."""
        return np.frombuffer(self._codes, np.int64) if self._codes else np.zeros(0, np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of every sample, in the same order."""
        return np.frombuffer(self._labels, np.int64) if self._labels else np.zeros(0, np.int64)

    def failures(self, shards: Shards) -> Iterator[Failure]:
        """Keys that occur twice, and pixels that occur more often than the manifest says."""
        codes, digests, digits = self.codes, np.array(self._digests, np.uint64), shards.digits
        for code in codes[_later(codes)].tolist():
            yield Failure(tar_of(code, digits), key_of(code, digits), "the key occurs twice")
        readable = digests != 0
        again = codes[readable][_later(digests[readable])].tolist()
        counts, settings = shards.manifest["counts"], shards.manifest["settings"]
        allowed = counts["duplicates"] if settings.get("duplicates", "keep") == "keep" else 0
        if len(again) > allowed:
            for code in again[:_LISTED]:
                yield Failure(tar_of(code, digits), key_of(code, digits), "has the pixels of an earlier sample")
            what = f"{len(again):,} samples have the pixels of an earlier one, the manifest allows {allowed:,}"
            yield Failure("manifest.json", "", what)


def _later(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which values have occurred before."""
    later = np.ones(len(values), bool)
    later[np.unique(values, return_index=True)[1]] = False
    return later
