"""Where shards are audited: in this process, in local processes with a core each, or on a Ray cluster; the findings
come in order. A worker reads shards and originals where they are: no pixels travel, but for those of `cifar10:` and
`cifar100:`, whose files are not pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cores import allowed
from ..errors import SettingError, ShardError
from ..progress import Progress, remarks
from ..shards import Shards, manifest_sha256
from ..sources.collection import has_bytes
from ..workers import SameFolder, WorkerOptions, pool_for
from ..workers.admission import Admission, Hello, versions
from .findings import ShardFindings
from .one_shard import AuditOrder, AuditWork, audit_shards
from .originals import Originals

WORTH = 1 << 27  # bytes of tars that starting processes is worth: each imports its libraries first


def audit_several(
    order: AuditOrder,
    here: range,
    sizes: Sequence[tuple[int, int]],
    originals: Originals | None,
    options: WorkerOptions,
    progress: Progress,
) -> Iterator[ShardFindings]:
    """What is found in those shards, in their order; of each `sizes` has samples and bytes. The workers of the options
    share them, by default one per core where that is worth their start.

    Raises `RunError` where workers die, and `SettingError` for a machine that reads other files.
    """
    workers = min(options.workers or _suited(sizes), len(here))
    apart = originals is None or originals.apart({}) is not None
    cluster: dict[str, Any] = {}
    if options.engine == "ray":
        if not apart:
            assert originals is not None
            spec = originals.collection.source.spec
            raise SettingError(f"{spec} can be read by this process only; leave --engine ray out")
        workers, order = options.workers or len(here), replace(order, shards=order.shards.elsewhere())
        cluster = _on_cluster(order, originals, progress)
    else:
        apart = apart and workers > 1
    pool = pool_for(options, workers if apart else 0, **cluster)
    waiting, due = dict[int, ShardFindings](), here.start
    for found in pool.run(audit_shards, order, _works(here, sizes, originals, apart), lambda message: None):
        waiting[found.shard] = found
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _suited(sizes: Sequence[tuple[int, int]]) -> int:
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


# --- on a cluster -------------------------------------------------------------------------------------------------


def _on_cluster(order: AuditOrder, originals: Originals | None, progress: Progress) -> dict[str, Any]:
    """How actors work."""
    entrance = Entrance(SameFolder.here(), originals.apart(originals.first()) if originals else None)
    sights = {"manifest": f"does not see the shards at {order.shards.url}; all nodes need them at the same place"}
    if originals:
        sights["original"] = f"cannot read {originals.collection.source.spec}, or reads other bytes there"
    admission = Admission(entrance.describe(order.shards), sights)
    return {"enter": entrance, "admit": admission.check, "remark": remarks(progress, "audit")}


@dataclass(frozen=True)
class Entrance:
    """What a worker does first: it says what it is, and what it sees."""

    folder: SameFolder
    probe: Originals | None  # one of them

    def __call__(self, order: AuditOrder) -> tuple[AuditOrder, Hello]:
        self.folder.enter()
        return order, self.describe(order.shards)

    def describe(self, shards: Shards) -> Hello:
        """Versions that findings depend on, and what this machine reads of the manifest and of an original."""
        try:
            shards.files.keep("manifest.json")
            seen = manifest_sha256(shards.directory)
        except (OSError, ShardError) as error:
            seen = str(error)
        return {"manifest": seen, "original": self._original(), **versions()}

    def _original(self) -> str:
        if self.probe is None:
            return "none"
        collection = self.probe.collection
        return "is read" if has_bytes(collection.source, 0, collection.sha256[0].tobytes()) else "is not read"
