"""semshard reproduce TABLE --source SOURCE --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig, VerifyConfig

from .command import errors_in_one_line, settings_of
from .event_log import logged, record_result
from .options import Device, Json
from .values import pairs
from .values import rates as read_rates
from .workers import FOR_SHARDS, worker_options

if TYPE_CHECKING:
    from semshard import PlannedPart, ReproduceResult

_PIECES = "Running in pieces"

Scale = Annotated[
    str,
    typer.Option(
        help="Preset of protections and victims: quick; medium, for CPUs with hours; or paper, which needs a GPU."
    ),
]
Dataset = Annotated[
    Optional[str], typer.Option(help="Which of the table's datasets to compare with; its first by default.")
]
Cells = Annotated[
    Optional[list[str]],
    typer.Option(
        metavar="ROW:COLUMN",
        help="A cell by its name, with * for any: SEM:4/255 or REM*:*. Repeat the option; cells are made in the order "
        "given.",
    ),
]
Protection = Annotated[
    Optional[list[str]],
    typer.Option(metavar="NAME=V", help="A setting of the protections, other than the table's own. Repeat the option."),
]
Test = Annotated[
    Optional[str],
    typer.Option(
        metavar="SOURCE", help="Clean images to test on, as a source; victims then train on all images of --source."
    ),
]
Minutes = Annotated[
    Optional[float],
    typer.Option(
        help="Stop after about this time with exit code 75; the same command continues from there.",
        rich_help_panel=_PIECES,
    ),
]
State = Annotated[
    Optional[Path],
    typer.Option(
        help="Folder of a few files from which the same command continues on another machine, where --out is empty.",
        rich_help_panel=_PIECES,
    ),
]
Rates = Annotated[
    Optional[str],
    typer.Option(
        metavar="FLOP,BYTES",
        help="Operations and bytes per second that --dry-run calculates with, like 788e12,4.3e12; this device's by "
        "default.",
        rich_help_panel=_PIECES,
    ),
]


@errors_in_one_line
@logged
@worker_options(*FOR_SHARDS)
@settings_of(VerifyConfig, run="table")
def reproduce(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="table1 to table8, figure3 or figure5 of the paper.")],
    *,
    source: Annotated[str, typer.Option(help="The images, as protect takes them.")],
    out: Annotated[Path, typer.Option(help="Folder for shards, victims and TABLE.md. Keep it private.")],
    scale: Scale = "quick",
    dataset: Dataset = None,
    cells: Cells = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of protections, and of victims of each.")] = 1,
    protection: Protection = None,
    test: Test = None,
    settings: dict[str, Any],
    minutes: Minutes = None,
    state: State = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what each part needs of the device.")] = False,
    rates: Rates = None,
    workers: Any,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare with a table or a figure of the paper.

    Protects and verifies images for its cells, and prints our numbers beside the paper's.
    """
    import semshard

    from . import show
    from .watch import Watch

    settings |= {"scale": scale, "dataset": dataset, "cells": cells or ["*"], "seeds": seeds, "test": test}
    settings |= {"protection": pairs(ProtectConfig, protection), "device": device}
    if dry_run:
        parts = semshard.plan_reproduction(table, source, rates=read_rates(rates), **settings)
        show.as_json({"parts": [part.to_json() for part in parts]}) if json else _show_plan(parts)
        return
    with Watch() as watch:
        settings |= {"minutes": minutes, "state": state, "workers": workers}
        result = semshard.reproduce(table, source, out, progress=watch, **settings)
    record_result(result.to_json)
    show.as_json(result.to_json()) if json else _show(result)


def _show(result: ReproduceResult) -> None:
    from . import show

    show.console.print(result.markdown(), soft_wrap=True)
    show.console.print(f"table: {result.out}/{result.table}.md, {result.table}.json", soft_wrap=True)


def _show_plan(parts: list[PlannedPart]) -> None:
    from . import show

    lines = [(part.part, part.flop, part.bytes, part.seconds) for part in parts]
    lines.append(("all", *(sum(getattr(part, of) for part in parts) for of in ("flop", "bytes", "seconds"))))
    rows = [(name, f"{f / 1e15:.4g}", f"{b / 1e12:.4g}", show.duration(seconds)) for name, f, b, seconds in lines]
    show.table("to be done", ("part", "PFLOP", "TB", "at least"), rows)
