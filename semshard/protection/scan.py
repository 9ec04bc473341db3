"""The first pass over a source: every input is decoded once, and labels are made where there are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import torch

from .._version import __version__
from ..cores import allowed
from ..engine import Runtime
from ..errors import SettingError, TooManyRejects
from ..memory import free_memory
from ..progress import Event, Progress, Throttle
from ..shards import Ledger
from ..shards.pixels import LONGEST
from ..shards.scan_blocks import ScanBlocks
from ..sources import Collection, Source, check_classes, scan, with_groups
from ..sources.decode import Decoding, decoding_of
from ..sources.image_metadata import DROPPED, count_dropped
from ..sources.scanning import Run
from ..workers import LocalPool
from .request import GROUPS, Request

GROUP_MOST = 500_000  # images that are grouped, at most: their copies are in memory at once
SCAN_APART = 5_000  # inputs that starting processes is worth: each takes half a second to import the decoders
SCAN_BASE = 1 << 28  # bytes of a process that scans
GROUP_SIDE = 64  # pixels a side of the copies that photographs are grouped by


def scan_source(source: Source, request: Request, runtime: Runtime, ledger: Ledger | None = None) -> Collection:
    """Decode every input once; where they have no labels, group them by their looks. With a `ledger` that this process
    holds, a scan that was killed goes on from the blocks that it has finished.
    """
    progress, pictures = request.progress, request.pictures()
    for sentence in source.remarks:
        progress(Event("scan", message=sentence))

    throttle = Throttle()

    def advance(done: int, rejected: int) -> None:
        if throttle(done == len(source)):
            progress(Event("scan", done, len(source), "images", {"rejected": rejected}))

    decoding, resolution, longest = decoding_of(pictures), pictures["resolution"], LONGEST[pictures["format"]]
    collection = scan(
        source, decoding, resolution, duplicates=pictures["duplicates"], longest=longest, advance=advance,
        elsewhere=processes(source),
        finished=finished_blocks(ledger, source, decoding, resolution, longest) if ledger else None,
    )  # fmt: skip
    if collection.duplicates:
        what = "rejected" if pictures["duplicates"] == "reject" else "kept"
        progress(Event("scan", message=f"{collection.duplicates:,} images have the pixels of an earlier one: {what}"))
    remark_notes(collection.notes.values(), progress)
    if not source.classes:
        _group(collection, pictures["groups"] or GROUPS, request, runtime)
    return collection


def finished_blocks(
    ledger: Ledger,
    source: Source,
    decoding: Decoding,
    resolution: int,
    longest: int | None,
    numbers: Sequence[int] | None = None,
) -> ScanBlocks:
    """What a scan with those arguments, as `scan` has them, has finished in a ledger."""
    about = {
        "version": __version__, "source": source.spec, "listing": source.digest, "decoding": asdict(decoding),
        "resolution": resolution, "longest": longest, "numbers": None if numbers is None else list(numbers),
    }  # fmt: skip
    return ScanBlocks(ledger.path, about, ledger.index.block, ledger.saved)


def remark_notes(notes: Iterable[str], progress: Progress, of: str = "images") -> None:
    """Say the most frequent of those notes, and always of how many images rights are lost."""
    notes = list(notes)
    parts = Counter(part for note in notes for part in note.split("; ") if not part.startswith(DROPPED))
    for note, count in parts.most_common(5):
        progress(Event("scan", message=f"{count:,} {of}: {note}"))
    count, of_kind = count_dropped(notes)
    if count:
        kinds = ", ".join(f"{kind} of {number:,}" for kind, number in sorted(of_kind.items()))
        what = f"rights that their files state are not published ({kinds})"
        progress(Event("scan", message=f"{count:,} {of}: {what}; --keep-metadata rights keeps them"))


def processes(source: Source) -> Run | None:
    """What runs a long scan in a process per core; None where threads of this one do as well."""
    workers = min(allowed(), free_memory() // SCAN_BASE)
    if workers < 2 or len(source) < SCAN_APART or source.part([0]) is None:
        return None
    return LocalPool(workers, allowed()).run


def check_collection(collection: Collection, request: Request, where: str = "") -> None:
    """Raise `TooManyRejects` where more inputs are unusable than the request allows, and `SourceError` where the usable
    ones do not make classes; `where` names the list of rejects.
    """
    limit_rejects(len(collection.rejects), len(collection.source), request.max_rejects, where)
    check_classes(collection)


def limit_rejects(rejected: int, inputs: int, max_rejects: float, where: str = "") -> None:
    """Raise `TooManyRejects` where more than the share `max_rejects` of the inputs is unusable."""
    if rejected > max_rejects * inputs:
        raise TooManyRejects(
            f"{rejected} of {inputs} inputs are unusable, more than --max-rejects {max_rejects:.2%} allows{where}"
        )


def _group(collection: Collection, groups: int, request: Request, runtime: Runtime) -> None:
    """Labels for images that have none: groups of images that look alike."""
    from ..grouping import group_images  # which loads what no other run needs

    usable, size = collection.usable, collection.size
    if len(usable) > GROUP_MOST:
        raise SettingError(f"--labels auto groups at most {GROUP_MOST:,} images, here are {len(usable):,}")
    own = bool(size and size[0] == size[1] <= GROUP_SIDE)
    side = size[0] if size and own else GROUP_SIDE
    images = torch.empty((len(usable), 3, side, side), dtype=torch.uint8)
    kept: list[int] = []
    for at in range(0, len(usable), 1024):
        pixels, read, unreadable = collection.stack(usable[at : at + 1024], 0 if own else side)
        images[len(kept) : len(kept) + len(read)] = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        kept += read.tolist()
        collection.rejects |= unreadable
        collection.sizes[list(unreadable)] = 0
    images = images[: len(kept)]
    seed = int(request.settings.get("seed", 0))
    grouping = group_images(runtime, images, groups, seed, progress=request.progress)
    names = tuple(f"group-{number:0{len(str(groups - 1))}d}" for number in range(groups))
    with_groups(collection, dict(zip(kept, grouping.labels.tolist(), strict=True)), names)
    request.progress(
        Event(
            "groups",
            message=f"experimental: {groups} groups of images that look alike are used as classes "
            f"({grouping.features})",
        )
    )
