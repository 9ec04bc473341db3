"""The source of a run as its ledger knows it, for processes that make a part of the shards: nothing is listed, and of
the ledger only the rows of these shards are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..settings import ProtectConfig
from ..shards import Ledger
from ..sources import Collection
from ..sources.by_rows import ByRows
from ..sources.open import unlisted_spec
from .index_rows import source_of
from .known_plan import known_part
from .request import Request

TOGETHER = 1 << 16  # inputs whose rows are read at once: they are spread over all files of the index


class KnownSource(ByRows):
    """What all inputs of the source of a run have in common. It holds none of them; `part` reads rows of the ledger."""

    def __init__(self, ledger: Ledger, about: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        super().__init__({**about, "digest": run["source_digest"]}, [])
        self._ledger, self._run = ledger, run

    @classmethod
    def of(cls, request: Request, ledger: Ledger) -> KnownSource | None:
        """That of the run in a ledger; None where it cannot be read by rows, where the request names another one, or
        where the method looks at images of other shards, or a driver at one of any. Raises `SourceError` where its
        place is gone.
        """
        run = ledger.known()
        about = ledger.index.known().source if run else None
        if run is None or about is None or run["settings"]["method"] == "ntga" or request.workers.engine == "ray":
            return None
        spec, options = unlisted_spec(str(request.source)), request.options.to_json()
        if spec is None or not spec == about["spec"] == run["source"] or options != run["source_options"]:
            return None
        return cls(ledger, about, run)

    def __len__(self) -> int:
        return int(self._run["inputs"])

    def part(self, numbers: Sequence[int]) -> ByRows:
        return source_of(self._about, self._ledger.index.take(numbers))

    def outline(self, config: ProtectConfig) -> Collection:
        """The collection of the run without any of its inputs: classes, size, how pictures are read."""
        return replace(known_part(self._ledger, config, self._run, np.zeros(0, np.int64)), source=self)

    def rejected(self, numbers: NDArray[np.int64]) -> set[int]:
        """Those of the inputs that have a reason why they are not published."""
        reasons = self._ledger.index.take(numbers, ["reason"])["reason"].to_pylist()
        return {number for number, reason in zip(numbers.tolist(), reasons, strict=True) if reason}

    def collections(
        self, config: ProtectConfig, shards: Sequence[NDArray[np.int64]]
    ) -> Iterator[tuple[Collection, NDArray[np.int64]]]:
        """For each of the shards, given by the numbers of their inputs: a collection that has these inputs, and their
        numbers in it. Rows of several shards are read at once, and no more than `TOGETHER` unless one shard has more.
        """
        for group in _groups(shards):
            collection = known_part(self._ledger, config, self._run, np.concatenate(group))
            at = 0
            for numbers in group:
                yield collection, np.arange(at, at + len(numbers))
                at += len(numbers)


def _groups(shards: Sequence[NDArray[np.int64]]) -> Iterator[list[NDArray[np.int64]]]:
    group, total = list[NDArray[np.int64]](), 0
    for numbers in shards:
        if group and total + len(numbers) > TOGETHER:
            yield group
            group, total = [], 0
        group.append(numbers)
        total += len(numbers)
    if group:
        yield group
