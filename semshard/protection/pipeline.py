"""The pipeline of protect: load → craft → encode → write, shard by shard.

A thread reads ahead, the device crafts in the calling thread, and behind it threads encode and write, in the order of
the plan. `shard_pool` decides where the shards are made: in this process, or in several with a core each.
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..settings import ProtectConfig
from ..shards import Ledger, LedgerRow, ShardStats, ShardWriter, mark_done
from ..threads import ahead, behind
from ..workers import Report, run_alone
from .batches import Batch, Craft, ShardWork, load_batches, published
from .encoding import EncodedChunk, Recipe, encode_batches


@dataclass(frozen=True, eq=False)
class ShardOrder:
    """What is the same for all shards of a run; can be pickled where `craft` can."""

    craft: Callable[[], Craft]  # makes what crafts
    config: ProtectConfig
    recipe: Recipe
    out: Path
    ledger: Path
    record: Mapping[str, Any] = field(default_factory=dict)  # what the ledger keeps of every shard besides its stats

    @functools.cached_property
    def crafter(self) -> Craft:
        """What crafts, made once in each process."""
        return self.craft()

    def __getstate__(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True)
class Advanced:
    """Inputs that are crafted, and those that turned out to be unusable."""

    images: int
    rejects: int
    example: str = ""  # the name of one that is unusable, and why


def make_shards(order: ShardOrder, works: Iterable[ShardWork], report: Report) -> Iterator[ShardStats]:
    """Load, craft, encode and write shards, one after the other. After each batch `report` is given an `Advanced`."""
    done = deque[ShardStats]()

    def encode_and_write(protected: Iterator[Batch]) -> None:
        done.extend(write_shards(order, encode_batches(map(published, protected), order.recipe)))

    with behind(encode_and_write) as hand_on:
        for batch in ahead(load_batches(order.config, works)):
            hand_on(order.crafter(batch))
            report(Advanced(len(batch.inputs), len(batch.rejects) - len(batch.moved), _example(batch)))
            while done:
                yield done.popleft()
    yield from done


def _example(batch: Batch) -> str:
    """The name of an input of the batch that is unusable, and why; empty where there is none."""
    moved = set(batch.moved.values())
    for number, reason in batch.rejects.items():
        if number not in moved:
            return f"{batch.collection.source.entry(number).name} ({reason})"
    return ""


def make_shard(order: ShardOrder, work: ShardWork) -> ShardStats:
    """Load, craft, encode and write one shard, whose bytes depend on the arguments alone."""
    return run_alone(make_shards, order, work, lambda message: None)


def write_shards(order: ShardOrder, chunks: Iterator[EncodedChunk]) -> Iterator[ShardStats]:
    """The chunks as tar, parquet and ledger rows; a shard's stats file is written last and marks it as done."""
    digits = order.recipe.digits
    for shard, of_shard in itertools.groupby(chunks, lambda chunk: chunk.shard):
        rows: list[LedgerRow] = []
        moved: list[list[int]] = []
        with ShardWriter(order.out, shard, digits) as writer:
            for chunk in of_shard:
                writer.add(chunk.samples)
                rows += chunk.rows
                moved += chunk.moved
                writer.rejected += sum(row.reason is not None for row in chunk.rows) + len(chunk.moved)
        record = {**order.record, "stats": asdict(writer.stats), **({"absent": moved} if moved else {})}
        Ledger(order.ledger, digits).write_shard(shard, rows, record)
        mark_done(order.out, writer.stats, digits)
        yield writer.stats
