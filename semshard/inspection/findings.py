"""What was found in one shard. It can be pickled, so that shards are audited in other processes, and put together."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from ..shards import code_of
from .failure import Failure
from .remainder import Remainder
from .repeated_noise import NoiseOfShard


@dataclass
class ShardFindings:
    """A shard after its audit; of each of its samples a few bytes."""

    shard: int
    failures: list[Failure] = field(default_factory=list)
    samples: int = 0
    rejected: int = 0  # inputs that were rejected while it was made, as its stats say
    codes: array[int] = field(default_factory=lambda: array("q"))  # the keys, by `code_of`
    labels: array[int] = field(default_factory=lambda: array("q"))  # −1 where a sample has none
    digests: array[int] = field(default_factory=lambda: array("Q"))  # the first 8 bytes of the SHA-256 of its pixels
    compared: int = 0  # samples that were compared with their originals
    linf_max: int | None = None  # grey levels, over the compared
    remainder: Remainder | None = None  # what simple filters leave of the noise
    noise: NoiseOfShard | None = None

    def fail(self, where: str, problem: str, key: str = "") -> None:
        """File a failure."""
        self.failures.append(Failure(where, key, problem))

    def add(self, key: str, label: int, sha256: bytes) -> None:
        """A sample: its label (−1 where it has none) and the SHA-256 of its pixels (empty where they do not decode)."""
        self.codes.append(code_of(key))
        self.labels.append(label)
        self.digests.append(int.from_bytes(sha256[:8]))
