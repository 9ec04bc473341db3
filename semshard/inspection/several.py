"""Where shards are audited: in this process, or in local processes with a core each; the findings come in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..cores import allowed
from ..workers import Here, LocalPool, Pool
from .findings import ShardFindings
from .one_shard import AuditOrder, AuditWork, audit_shards
from .originals import Originals

WORTH = 1 << 27  # bytes of tars that starting processes is worth: each imports its libraries first


def audit_several(
    order: AuditOrder,
    here: range,
    sizes: Sequence[tuple[int, int]],
    originals: Originals | None,
    jobs: int | None,
) -> Iterator[ShardFindings]:
    """What is found in those shards, in their order; of each `sizes` has samples and bytes. `jobs` processes share
    them, None decides. Raises `RunError` where a process dies.
    """
    workers = min(_workers(sizes) if jobs is None else jobs, len(here))
    apart = workers > 1 and (originals is None or originals.apart({}) is not None)
    pool: Pool = LocalPool(workers, allowed()) if apart else Here()
    waiting, due = dict[int, ShardFindings](), here.start
    for found in pool.run(audit_shards, order, _works(here, sizes, originals, apart), lambda message: None):
        waiting[found.shard] = found
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _workers(sizes: Sequence[tuple[int, int]]) -> int:
    return allowed() if sum(size for _, size in sizes) >= WORTH else 1


def _works(
    here: range, sizes: Sequence[tuple[int, int]], originals: Originals | None, apart: bool
) -> Iterator[AuditWork]:
    """The shards with the originals of each; a process of its own gets no others."""
    of_shards = originals.of_shards() if originals and apart else {}
    first = 0
    for shard, (samples, _) in zip(here, sizes, strict=True):
        own = originals.apart(of_shards.get(shard, {})) if originals and apart else originals
        yield AuditWork(shard, first, own)
        first += samples
