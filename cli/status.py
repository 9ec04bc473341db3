"""semshard status SHARDS"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .command import errors_in_one_line
from .options import Json, ShardsPlace

if TYPE_CHECKING:
    from semshard import Status

_PHASES = {
    "scan": "scanning the source",
    "surrogate": "training the surrogate",
    "craft": "crafting and writing shards",
    "finish": "shards are done, the manifest is not",
    "done": "finished",
    "damaged": "finished, but shards are missing or have another size",
}


@errors_in_one_line
def status(shards: ShardsPlace, *, json: Json = False) -> None:
    """Say how far a run is, and what to do next.

    Reads what is on disk, also during a run, and writes nothing.
    """
    import semshard

    from . import show

    result = semshard.status(shards)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)


def _show(result: Status) -> None:
    from . import show

    rows = [("state", _PHASES[result.phase] + (f"; {result.change} is not complete" if result.change else ""))]
    if result.running is not None:
        rows += [("process", "running now" if result.running else "none is running")]
    if result.inputs is not None:
        removed = f", {result.removed:,} removed" if result.removed else ""
        rows += [("inputs", f"{result.inputs:,}, {result.rejected or 0:,} rejected{removed}")]
    if result.steps:
        rows += [("surrogate", f"step {result.step:,} of {result.steps:,}")]
    if result.shards_done is not None:
        rows += [
            ("shards", f"{result.shards_done:,}" + (f" of {result.shards:,}" if result.shards is not None else ""))
        ]
    rows += [("ledger", "beside it" if result.has_ledger else "missing"), ("next", result.next)]
    show.facts(result.out, rows)
