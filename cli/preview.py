"""semshard preview SHARDS --out FILE.png"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command import errors_in_one_line
from .options import Clean, Json, LedgerPlace, ShardsPlace


@errors_in_one_line
def preview(
    shards: ShardsPlace,
    *,
    out: Annotated[Path, typer.Option(help="The PNG to write. It shows clean pixels: keep it private.")],
    samples: Annotated[int, typer.Option(min=1, max=200, help="How many samples to show.")] = 12,
    clean: Clean = None,
    ledger: LedgerPlace = None,
    json: Json = False,
) -> None:
    """Draw samples: clean, noise (amplified), protected."""
    import semshard

    from . import show

    written = semshard.preview(shards, out, samples=samples, clean=clean, ledger=ledger)
    if json:
        show.as_json({"picture": str(written)})
    else:
        show.console.print(f"picture: {written}", soft_wrap=True)
