"""semshard export SHARDS --to FORMAT --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command import errors_in_one_line
from .event_log import logged, record_result
from .options import Json, ShardsFolder


@errors_in_one_line
@logged
def export(
    shards: ShardsFolder,
    *,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="folder (image files in a folder per class), parquet (Hugging Face), mds (MosaicML Streaming) or "
            "dali-index (an index of each tar).",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write; it must be new or empty.")],
    json: Json = False,
) -> None:
    """Copy the images into the format of another loader."""
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        result = semshard.export(shards, out, to=to, progress=watch)
    record_result(result.to_json)
    if json:
        show.as_json(result.to_json())
        return
    show.facts(
        "exported",
        [
            ("samples", f"{result.samples:,} of {result.shards:,} shards"),
            ("files", f"{result.files:,}, {show.size(result.bytes)}"),
            ("folder", result.out),
        ],
    )
