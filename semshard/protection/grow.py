"""More images for a finished run: those that appeared in its source since, and rejects that can be read now.

They get shards of their own behind the others, made with the same surrogate; finished shards keep every byte. The
ledger's list of inputs is replaced in one step, by one with the new inputs and their shards; what is missing then is
made as in any run, so that the same command completes what was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..engine import permutation
from ..errors import LedgerError, OutputError
from ..progress import Event, Throttle
from ..shards import REMOVED, InputRow, check_room, tar_name, was_removed
from ..shards.pixels import LONGEST
from ..sources import Collection, Source, scan
from ..sources.by_rows import about_source
from ..sources.collection import has_bytes
from ..sources.in_order import InOrder
from ..sources.scanning import SAME_PIXELS
from ..threads import ordered_map
from .index_rows import where as place_of
from .known_plan import KnownPlan, known_collection
from .known_shards import made_on
from .resume import Run, fields_of
from .scan import finished_blocks, limit_rejects
from .settle import EARLIER

_SAME_BYTES = "has the bytes of"  # how the reason of a file begins that an older one equals


def grow(run: Run, source: Source) -> Run:
    """The run with the images that its request asks for: rejects that can be read now, then new ones.

    Raises `OutputError` where `source` does not go on from what the ledger knows.
    """
    state = run.ledger.state()
    if "shards" not in state:
        raise LedgerError(f"{run.ledger.path} {EARLIER}")
    if not run.history and not (run.out / "manifest.json").exists():
        raise OutputError(f"the run in {run.out} is not finished; the same command without --extend continues it")
    _check_classes(run, source)
    rows = {row.source: row for row in run.ledger.inputs()}
    here = {source.entry(number).name: number for number in range(len(source))}
    if run.request.retry_rejects:
        rejected = [(here[name], rows[name]) for name in _rejected(run, rows) if name in here]
        again = [number for number, row in rejected if not _is_same_duplicate(source, number, row)]
        _add(run, source, "retry-rejects", rows, again)
    if run.request.extend:
        _check_old(run, source, rows, here)
        _add(run, source, "extend", rows, [number for name, number in here.items() if name not in rows])
    known = run.ledger.held()
    collection = known_collection(InOrder(source, run.ledger.names()), run.ledger, run.config, known)
    return replace(run, collection=collection, known_plan=KnownPlan.of(run.ledger))


# --- whether the source is still that of the run --------------------------------------------------------------------


def _check_classes(run: Run, source: Source) -> None:
    if not source.classes:
        raise OutputError("groups that --labels auto made are of the images they were made of; no image can be added")
    new = [name for name in source.classes if name not in run.classes]
    gone = [name for name in run.classes if name not in source.classes]
    if new:
        raise OutputError(f"{_some(new, 'class')} not in {run.out}: the surrogate knows its own classes only")
    if gone:
        raise OutputError(f"{_some(gone, 'class')} no longer in {source.spec}")
    carried = fields_of(run.config, source).carried
    before = tuple(run.ledger.record(0).get("carried", carried))
    if carried != before:
        raise OutputError(f"samples now carry the fields {', '.join(carried)}, before {', '.join(before) or 'none'}")


def _check_old(run: Run, source: Source, rows: dict[str, InputRow], here: dict[str, int]) -> None:
    """Raise `OutputError` where a published input has vanished, has another label, or other bytes."""
    published = {name: row for name, row in rows.items() if not row.reason}
    vanished = [name for name in published if name not in here]
    if vanished:
        raise OutputError(
            f"{_some(vanished, 'file')} no longer in {source.spec}, but published in {run.out}; bring them back, or "
            "take them out of the shards with semshard remove"
        )
    moved = [name for name, row in published.items() if source.entry(here[name]).label != row.label]
    if moved:
        raise OutputError(f"{_some(moved, 'file')} now of another class than when it was protected")
    throttle, changed = Throttle(), list[str]()
    same = ordered_map(lambda row: has_bytes(source, here[row.source], row.sha256), published.values())
    for done, (name, unchanged) in enumerate(zip(published, same, strict=True), 1):
        changed += [] if unchanged else [name]
        if throttle(done == len(published)):
            run.request.progress(Event("compare", done, len(published), "images"))
    if changed:
        raise OutputError(
            f"{_some(changed, 'file')} not as protected, but changed since; bring the old files back, or take them out "
            "of the shards with semshard remove and add the new ones under other names"
        )


def _rejected(run: Run, rows: dict[str, InputRow]) -> Iterator[str]:
    """The names of inputs that are rejected, by the scan or later, and were not removed."""
    late = set[int]()
    for shard in range(len(run.plan())):
        try:
            late |= {row.number for row in run.ledger.shard(shard) if row.reason}
        except LedgerError:
            continue  # not made yet
    for name, row in rows.items():
        if (row.reason or row.number in late) and not was_removed(row.reason):
            yield name


def _is_same_duplicate(source: Source, number: int, row: InputRow) -> bool:
    """Whether an input was rejected as a duplicate, and is still the same file: one that would be found by its pixels
    is compared with those that are published by its bytes now, and would pass.
    """
    return row.reason.startswith((SAME_PIXELS, _SAME_BYTES)) and has_bytes(source, number, row.sha256)


def _some(names: Sequence[str], what: str) -> str:
    """Of many names the first: "2 files, such as a/b.png, are", "class c is"."""
    plural = f"{what}es" if what == "class" else f"{what}s"
    return f"{what} {names[0]} is" if len(names) == 1 else f"{len(names)} {plural}, such as {names[0]}, are"


# --- adding ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scanned:
    """Inputs that may be added, by their numbers in the source, and what the scan found of them."""

    numbers: Sequence[int]
    found: Collection


def _add(run: Run, source: Source, action: str, rows: dict[str, InputRow], numbers: list[int]) -> None:
    """Scan those inputs of the source, and write them into the ledger with their shards; `rows` get them, too."""
    scanned = _scan(run, source, rows, sorted(numbers))
    usable = [number for number in scanned.numbers if number not in scanned.found.rejects]
    is_new = action == "extend"
    if not (usable or (is_new and numbers)):
        run.request.progress(Event("scan", message=f"{action}: there is nothing to add"))
        return
    state = run.ledger.state()
    shards = _shards(run, source, usable, state["shards"])
    check_room(run.out, state["shards"], len(shards))
    where = {number: (shard, place) for shard, some in shards.items() for place, number in enumerate(some)}
    sizes = {name: row.size for name, row in rows.items()}
    for number in scanned.numbers if is_new else usable:
        name, found = source.entry(number).name, scanned.found
        height, width = found.sizes[number].tolist() if number in where else (0, 0)
        sha256 = found.sha256[number].tobytes() if found.sha256[number].any() else None
        rows[name] = InputRow(
            rows[name].number if name in rows else len(rows), name, sha256, found.label(number), height, width,
            found.rejects.get(number, ""), found.notes.get(number, ""), *where.get(number, (-1, -1)),
        )  # fmt: skip
        sizes[name] = int(found.lengths[number])
    unusable = sum(bool(row.reason) and not was_removed(row.reason) for row in rows.values())
    if is_new:
        limit_rejects(unusable, len(rows), run.request.max_rejects)
    entry = {
        "action": action,
        "inputs": len(numbers) if is_new else len(usable),
        "shards": [tar_name(shard, run.ledger.digits) for shard in shards],
        "made_on": made_on(run),
    }
    known = run.ledger.known() or {}
    for number in range(len(source)):  # whose place may be another by now
        name = source.entry(number).name
        if name in rows:
            rows[name] = replace(rows[name], **place_of(source, number, sizes[name]))
    run.ledger.write_sources(
        sorted(rows.values(), key=lambda row: row.number),
        state | {
            "shards": state["shards"] + len(shards),
            "inputs": len(rows),
            "source": source.spec,
            "source_options": run.request.options.to_json(),
            "source_digest": source.digest if is_new else known["source_digest"],
            "duplicates": known["duplicates"] + scanned.found.duplicates,
            "history": [*state.get("history", []), entry],
        },
        about_source(source),
    )  # fmt: skip


def _scan(run: Run, source: Source, rows: dict[str, InputRow], numbers: list[int]) -> _Scanned:
    """Decode those inputs. Rejected are also those that do not have the size of the others, that have the bytes of one
    that was removed, and, where duplicates are rejected, that have the bytes of one that is published.
    """
    config, progress, throttle = run.config, run.request.progress, Throttle()

    def advance(done: int, rejected: int) -> None:
        if throttle(done == len(numbers)):
            progress(Event("scan", done, len(numbers), "images", {"rejected": rejected}))

    decoding, longest = run.collection.decoding, LONGEST[config.format]
    found = scan(
        source, decoding, config.resolution, numbers, duplicates=config.duplicates, longest=longest, keep=0,
        advance=advance, need_one=False,
        finished=finished_blocks(run.ledger, source, decoding, config.resolution, longest, numbers),
    )  # fmt: skip
    by_bytes = {row.sha256: row for row in rows.values() if row.sha256 and (not row.reason or was_removed(row.reason))}
    size = run.collection.size
    for number in numbers:
        if number in found.rejects:
            continue
        height, width = found.sizes[number].tolist()
        twin = by_bytes.get(found.sha256[number].tobytes())
        if twin and twin.source == source.entry(number).name:
            twin = None
        if twin and was_removed(twin.reason):
            found.rejects[number] = f"{REMOVED}, as {twin.source}, which has the same bytes"
        elif size and (height, width) != size:
            found.rejects[number] = f"{width} × {height} pixels, the other images {size[1]} × {size[0]}"
        elif twin and config.duplicates == "reject":
            found.rejects[number] = f"{_SAME_BYTES} {twin.source}"
        found.duplicates += bool(twin) and not (twin and was_removed(twin.reason))
    return _Scanned(numbers, found)


def _shards(run: Run, source: Source, usable: Sequence[int], first: int) -> dict[int, NDArray[np.int64]]:
    """The inputs of each new shard: one for each tar of the source that has some, or shuffled by the seed and cut."""
    numbers = np.array(usable, np.int64)
    if source.shards is not None:
        parts = [numbers[(numbers >= each.start) & (numbers < each.stop)] for each in source.shards]
    else:
        order = permutation(len(numbers), run.config.seed, "shards", first).numpy()
        size = run.config.shard_size
        parts = [numbers[order[at : at + size]] for at in range(0, len(numbers), size)]
    return dict(enumerate((part for part in parts if len(part)), first))
