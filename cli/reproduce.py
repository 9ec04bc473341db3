"""semshard reproduce TABLE --source SOURCE --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.errors import SettingError
from semshard.settings import COUNTERED, ProtectConfig, VerifyConfig, parse

from .command import Device, Json, errors_in_one_line, pair, settings_of

if TYPE_CHECKING:
    from semshard import PlannedPart

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
        typer.Option(
            metavar="ROW:COLUMN",
            help="A cell by its name, with * for any: SEM:4/255 or REM*:*. Repeat it; made in that order.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Protections, and victims of each.")] = 1,
    protect: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME=V", help="A setting of the protections, other than the table's own. Repeat it."),
    ] = None,
    test: Annotated[
        Optional[str],
        typer.Option(help="Clean images to test on, as a source; --source is then trained on as a whole."),
    ] = None,
    minutes: Annotated[
        Optional[float],
        typer.Option(help="Stop after about so long with exit code 75; the same command goes on from there."),
    ] = None,
    state: Annotated[
        Optional[Path],
        typer.Option(help="Folder of a few files with which the same command goes on elsewhere, --out being empty."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what each part asks of the device, and do nothing.")
    ] = False,
    rates: Annotated[
        Optional[str],
        typer.Option(
            metavar="FLOP,BYTES",
            help="Rates that --dry-run reckons with, a second, like 788e12,4.3e12; this device's by default.",
        ),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Protect and examine images for the cells of a table of the paper, and print our numbers beside its own."""
    import semshard

    from . import show
    from .watch import Watch

    common: dict[str, Any] = {
        "scale": scale, "dataset": dataset, "cells": cells or ["*"], "seeds": seeds, "test": test, "device": device,
        "protection": {name: parse(ProtectConfig, name, text) for name, text in map(pair, protect or [])}, **settings,
    }  # fmt: skip
    if dry_run:
        _plan(semshard.plan_reproduction(table, source, given=_rates(rates), **common), json)
        return
    with Watch() as watch:
        found = semshard.reproduce(table, source, out, minutes=minutes, state=state, progress=watch, **common)
    if json:
        show.as_json(found.to_json())
        return
    show.console.print(found.markdown(), markup=False, soft_wrap=True)
    show.console.print(f"table: {found.out}/{found.table}.md, {found.table}.json", soft_wrap=True, markup=False)


def _rates(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        flop, size = map(float, text.split(","))
    except ValueError:
        raise SettingError(f"{text!r} is no FLOP,BYTES; write it like 788e12,4.3e12") from None
    if min(flop, size) <= 0:
        raise SettingError(f"{text!r}: rates must be above 0")
    return flop, size


def _plan(parts: list[PlannedPart], json: bool) -> None:
    from . import show

    if json:
        show.as_json({"parts": [part.to_json() for part in parts]})
        return
    lines = [(part.part, part.flop, part.bytes, part.seconds) for part in parts]
    lines.append(("all", *(sum(getattr(part, of) for part in parts) for of in ("flop", "bytes", "seconds"))))
    rows = [(name, f"{f / 1e15:.4g}", f"{b / 1e12:.4g}", show.duration(seconds)) for name, f, b, seconds in lines]
    show.table("to be done", ("part", "PFLOP", "TB", "at least"), rows)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("reproduce")(errors_in_one_line(settings_of(VerifyConfig, _OF_THE_TABLE)(reproduce)))
