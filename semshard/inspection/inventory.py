"""All samples together, in a few bytes each: what no single shard shows."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..settings import MOST_IN_SHARD
from ..shards import Shards
from .failure import Failure

_LISTED = 20  # failures of one kind, at most


class Inventory:
    """The samples that were read."""

    def __init__(self) -> None:
        self.rejected: dict[int, int] = {}  # by shard: inputs that were rejected while it was made, as its stats say
        self._keys, self._labels, self._digests = array("q"), array("q"), array("Q")

    def add(self, key: str, label: int, sha256: bytes) -> None:
        """A sample: its label (−1 where it has none) and the SHA-256 of its pixels (empty where they do not decode)."""
        self._keys.append(int(key))
        self._labels.append(label)
        self._digests.append(int.from_bytes(sha256[:8]))

    def __len__(self) -> int:
        return len(np.unique(self._keys))

    @property
    def keys(self) -> NDArray[np.int64]:
        """Of every sample, in the order of the shards."""
        return np.array(self._keys, np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of every sample, in the same order."""
        return np.array(self._labels, np.int64)

    def failures(self, shards: Shards) -> Iterator[Failure]:
        """Keys that occur twice, and pixels that occur more often than the manifest says."""
        keys, digests = self.keys, np.array(self._digests, np.uint64)
        for key in keys[_later(keys)].tolist():
            yield Failure(tar_of(key), f"{key:010d}", "the key occurs twice")
        readable = digests != 0
        again = keys[readable][_later(digests[readable])].tolist()
        counts, settings = shards.manifest["counts"], shards.manifest["settings"]
        allowed = counts["duplicates"] if settings.get("duplicates", "keep") == "keep" else 0
        if len(again) > allowed:
            for key in again[:_LISTED]:
                yield Failure(tar_of(key), f"{key:010d}", "has the pixels of an earlier sample")
            what = f"{len(again):,} samples have the pixels of an earlier one, the manifest allows {allowed:,}"
            yield Failure("manifest.json", "", what)


def tar_of(key: int) -> str:
    """The name of the tar that a key belongs to."""
    return f"{key // MOST_IN_SHARD:05d}.tar"


def _later(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which values have occurred before."""
    later = np.ones(len(values), bool)
    later[np.unique(values, return_index=True)[1]] = False
    return later
