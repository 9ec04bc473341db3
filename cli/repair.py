"""semshard repair SHARDS"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Optional

import typer

from .command import errors_in_one_line
from .event_log import logged, record_result
from .options import Device, Json, ShardsFolder


@errors_in_one_line
@logged
def repair(
    shards: ShardsFolder,
    *,
    source: Annotated[
        Optional[str],
        typer.Option(metavar="SOURCE", help="The clean images, if they are no longer where the ledger says."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Make damaged or missing files again, with the same bytes.

    Every file is compared with the ledger. A shard is made again from the source, and replaced only by the bytes it
    had.
    """
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        result = semshard.repair(shards, source=source, device=device, progress=watch)
    record_result(lambda: asdict(result))
    if json:
        show.as_json(asdict(result))
    elif not result.repaired:
        show.console.print(f"Nothing to repair: {result.out} is as its ledger says, in all {result.shards:,} shards.")
    else:
        rows = [("files", ", ".join(result.repaired)), ("crafted again", f"{result.remade:,} shards")]
        show.facts("repaired", [*rows, ("checked", f"{result.shards:,} shards in {result.out}")])
