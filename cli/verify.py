"""semshard verify SHARDS --rho-a 4/255"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.config import VerifyConfig
from semshard.radii import format_radius

from .command import Clean, Device, Json, Preset, ShardsFolder, errors_in_one_line, settings_of, share

_DATA = {"clean": "clean originals", "protected": "the shards", "control": "originals + random noise"}


def verify(
    shards: ShardsFolder,
    settings: dict[str, Any],
    *,
    preset: Preset = "auto",
    clean: Clean = None,
    report: Annotated[
        Optional[Path], typer.Option(help="Folder for report.json and report.html; SHARDS.report by default. Private.")
    ] = None,
    require_below: Annotated[
        Optional[str],
        typer.Option(help="Exit with 1 when a victim on the shards ends above this accuracy, like 35% or 0.35."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train victims on clean, protected and control images, and test them on clean ones."""
    import semshard

    from . import show
    from .watch import Watch

    bound = None if require_below is None else share(require_below)
    with Watch() as watch:
        found = semshard.verify(
            shards, clean=clean, preset=preset, report=report, device=device, progress=watch, **settings
        )
    if json:
        show.as_json(found.to_json())
    else:
        _show(found)
    if bound is not None and found.worst() > bound:
        reached = f"a victim on the shards reaches {found.worst():.1%}"
        raise semshard.RunError(f"{reached}, above --require-below {bound:.1%}")


def _show(found: Any) -> None:
    from rich.table import Table

    from . import show

    table = Table(title="accuracy on clean images", title_justify="left", title_style="bold")
    for head in ("adversary", "trained on", "final", "best", "on its training images"):
        table.add_column(head, justify="left" if head in ("adversary", "trained on") else "right")
    for number, result in enumerate(found.results):
        if number and result.rho_a != found.results[number - 1].rho_a:
            table.add_section()
        adversary = format_radius(result.rho_a) if result.rho_a else "none"
        shares = (f"{100 * value:.1f} %" for value in (result.final, result.best, result.train))
        table.add_row(adversary, _DATA[result.data], *shares)
    table.caption = (
        f"victim {found.results[0].victim}, trained on {found.samples['train']:,}, "
        f"tested on {found.samples['test']:,} held-out images, chance {found.chance:.1%}"
    )
    show.console.print(table)
    for sentence in found.verdict:
        show.console.print(sentence)
    show.console.print(f"report, to keep private: {found.report}/report.html", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("verify")(errors_in_one_line(settings_of(VerifyConfig)(verify)))
