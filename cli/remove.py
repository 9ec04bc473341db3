"""semshard remove SHARDS --keys FILE | --source FILE"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from .command import errors_in_one_line
from .options import Json, ShardsFolder


@errors_in_one_line
def remove(
    shards: ShardsFolder,
    *,
    keys: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="A list of keys of samples, one per line.")
    ] = None,
    source: Annotated[
        Optional[Path], typer.Option(metavar="FILE", help="A list of source paths as in the ledger, one per line.")
    ] = None,
    json: Json = False,
) -> None:
    """Take samples out of shards, and never bring them back.

    Only the shards that hold them are rewritten; what remains keeps its bytes and its key. The ledger remembers what
    was removed, the manifest how many samples of which shards.
    """
    import semshard

    from . import show

    result = semshard.remove(shards, keys=keys, source=source)
    if json:
        show.as_json(asdict(result))
        return
    show.facts(
        "removed",
        [
            ("samples", f"{result.removed:,} out of {', '.join(result.shards) or 'no shard'}"),
            *([("removed before", f"{result.already:,}")] if result.already else []),
            ("left", f"{result.samples:,} samples in {result.out}"),
        ],
    )
