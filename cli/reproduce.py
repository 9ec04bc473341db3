"""semshard reproduce TABLE --source SOURCE --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.config import COUNTERED, ProtectConfig, VerifyConfig
from semshard.forms import read

from .command import Device, Json, errors_in_one_line, pair, settings_of

_OF_THE_TABLE = (*COUNTERED, "victim", "rho_a", "seed")


def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="table1 to table8, figure3 or figure5 of the paper.")],
    source: Annotated[str, typer.Option(help="The images, as protect takes them.")],
    out: Annotated[Path, typer.Option(help="Folder for shards, victims and TABLE.md. Keep it private.")],
    settings: dict[str, Any],
    *,
    scale: Annotated[
        str, typer.Option(help="Preset of protections and victims: quick, or paper, which wants a GPU.")
    ] = "quick",
    dataset: Annotated[
        Optional[str], typer.Option(help="Which of the table's datasets to compare with; its first by default.")
    ] = None,
    cells: Annotated[
        Optional[list[str]],
        typer.Option(metavar="ROW:COLUMN", help="A cell by its name, with * for any: SEM:4/255 or REM*:*. Repeat it."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Protections, and victims of each.")] = 1,
    protect: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME=V", help="A setting of the protections, other than the table's own. Repeat it."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Protect and examine images for the cells of a table of the paper, and print our numbers beside its own."""
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        found = semshard.reproduce(
            table,
            source,
            out,
            scale=scale,
            dataset=dataset,
            cells=cells or ["*"],
            seeds=seeds,
            protection={name: read(ProtectConfig, name, text) for name, text in map(pair, protect or [])},
            device=device,
            progress=watch,
            **settings,
        )
    if json:
        show.as_json(found.to_json())
        return
    show.console.print(found.markdown(), markup=False, soft_wrap=True)
    show.console.print(f"table: {found.out}/{found.table}.md, {found.table}.json", soft_wrap=True, markup=False)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("reproduce")(errors_in_one_line(settings_of(VerifyConfig, _OF_THE_TABLE)(reproduce)))
