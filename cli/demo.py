"""semshard demo DIR: the whole story on pictures that it draws itself."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from .command import errors_in_one_line
from .event_log import logged
from .options import Device

_STEPS = (
    "protect {dir}/images --out {dir}/shards --preset quick --rho-a 2/255 --steps 600 --lr-every 240",
    "audit {dir}/shards",
    "preview {dir}/shards --out {dir}/preview.png",
    "verify {dir}/shards --preset quick --rho-a 2/255 --countermeasure none",
)


@errors_in_one_line
@logged
def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where everything goes.")] = Path("semshard-demo"),
    *,
    images: Annotated[int, typer.Option(min=100, help="How many pictures to draw.")] = 2000,
    device: Device = "auto",
) -> None:
    """Protect, audit, preview and verify drawn pictures.

    Draws pictures of ten shapes into a folder, then runs these commands on them.
    """
    from semshard.sources.shapes import write_shapes

    from . import show

    start = time.monotonic()
    show.console.print(f"drawing {images:,} pictures of ten shapes into {folder}/images")
    write_shapes(folder / "images", images)
    for step in _STEPS:
        where = f"--device {device}" if device != "auto" and not step.startswith(("audit", "preview")) else ""
        line = step.format(dir=shlex.quote(str(folder)))
        show.console.print(f"\n$ semshard {line} {where}".rstrip(), style="bold", soft_wrap=True)
        code = context.find_root().command.main(shlex.split(f"{line} {where}"), standalone_mode=False)
        if code:
            raise typer.Exit(code)
    show.facts(
        f"done in {show.duration(time.monotonic() - start)}",
        [
            ("shards, to publish", f"{folder}/shards"),
            ("picture: clean | noise, amplified | protected", f"{folder}/preview.png"),
            ("report", f"{folder}/shards.report/report.html"),
            ("ledger, to keep private", f"{folder}/shards.ledger"),
        ],
    )
