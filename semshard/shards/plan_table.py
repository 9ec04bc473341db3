"""The plan of the shards as tables: a row for each shard, with its inputs in their places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_PLAN = pa.schema([("shard", pa.int64()), ("numbers", pa.list_(pa.int64()))])


def in_shards(
    shard: NDArray[np.int32], place: NDArray[np.int32], number: NDArray[np.int64], shards: int
) -> list[NDArray[np.int64]]:
    """The inputs of each of so many shards, in their places."""
    order = np.lexsort((place, shard))
    order = order[np.searchsorted(shard[order], 0) :]
    ends = np.searchsorted(shard[order], np.arange(shards), side="right")
    return np.split(number[order], ends)[:-1]


def plan_table(shards: Sequence[NDArray[np.int64]], first: int, each: int) -> pa.Table:
    some = shards[first : first + each]
    ends = np.cumsum([0, *map(len, some)]).astype(np.int32)
    numbers = pa.ListArray.from_arrays(pa.array(ends), pa.array(np.concatenate(some)))
    return pa.table([pa.array(np.arange(first, first + len(some))), numbers], schema=_PLAN)


def shards_of(table: pa.Table) -> list[NDArray[np.int64]]:
    """The inputs of each shard in a part of the plan."""
    numbers = table["numbers"].combine_chunks()
    return np.split(numbers.values.to_numpy(), numbers.offsets.to_numpy()[1:-1])
