"""semshard verify SHARDS --rho-a 4/255"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.settings import VerifyConfig

from .command import Clean, Device, Json, Preset, ShardsFolder, errors_in_one_line, settings_of, share

_STYLE = {"protects": "green", "weakens": "yellow", "does not protect": "red", "cannot tell": "dim"}


def verify(
    shards: ShardsFolder,
    settings: dict[str, Any],
    *,
    preset: Preset = "auto",
    clean: Clean = None,
    report: Annotated[
        Optional[Path], typer.Option(help="Folder for report.json and report.html; SHARDS.report by default. Private.")
    ] = None,
    weights: Annotated[
        Optional[str],
        typer.Option(
            help="Start victims from these: a safetensors file (pixel − 0.5, unless its metadata has mean and std), "
            "or a torchvision name in its cache."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Victims trained at once, each in a process with its share of the cores.")
    ] = 1,
    require_below: Annotated[
        Optional[str],
        typer.Option(help="Exit with 1 when the strongest attacker's best accuracy is above this, like 35% or 0.35."),
    ] = None,
    require_drop: Annotated[
        Optional[str],
        typer.Option(help="Exit with 1 when the strongest attacker is less than this below itself on the originals."),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train attackers on clean, protected and control images, test them on clean ones, and judge by the strongest."""
    import semshard

    from . import show
    from .watch import Watch

    below = None if require_below is None else share(require_below)
    drop = None if require_drop is None else share(require_drop)
    with Watch() as watch:
        found = semshard.verify(
            shards,
            clean=clean,
            preset=preset,
            report=report,
            weights=weights,
            jobs=jobs,
            device=device,
            progress=watch,
            **settings,
        )
    if json:
        show.as_json(found.to_json())
    else:
        _show(found)
    _require(found, below, drop)


def _require(found: Any, below: float | None, drop: float | None) -> None:
    import semshard

    who = f"the strongest attacker, {found.verdict['attacker']},"
    if below is not None and found.worst() > below:
        raise semshard.RunError(f"{who} reaches {found.worst():.1%}, above --require-below {below:.1%}")
    if drop is not None and found.drop() < drop:
        lower = f"is {100 * found.drop():.1f} points below itself on the originals"
        raise semshard.RunError(f"{who} {lower}, less than --require-drop {drop:.1%}")


def _show(found: Any) -> None:
    from rich.table import Table

    from . import show

    table = Table(title="accuracy on clean images, final (best), %", title_justify="left", title_style="bold")
    table.add_column("attacker")
    for head in ("originals", "shards", "95 %", "control", *(["the rest"] if found.partly else []), "verdict"):
        table.add_column(head, justify="left" if head == "verdict" else "right")
    for each in found.attackers:
        reached = {kind: f"{100 * of.final:.1f} ({100 * of.best:.1f})" for kind, of in each.data.items()}
        low, high = each.data["protected"].best_interval
        between = f"{100 * low:.1f} to {100 * high:.1f}"
        rest = [reached.get("rest", "")] if found.partly else []
        word = f"[{_STYLE[each.word]}]{each.word}[/]"
        table.add_row(
            each.attacker.name, reached["clean"], reached["protected"], between, reached["control"], *rest, word
        )
    seeds = len(found.attackers[0].data["clean"].seeds)
    majority = f", largest class {found.majority:.1%}" if found.majority else ""
    table.caption = (
        f"trained on {found.samples['train']:,}, tested on {found.samples['test']:,} held-out images, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, chance {found.chance:.1%}{majority}\n"
        "95 %: interval of the best on the shards; control: originals + random noise of the same size"
    )
    show.console.print(table)
    verdict = found.verdict
    show.console.print(f"[bold {_STYLE[verdict['word']]}]{verdict['word']}[/]: ", end="")
    show.console.print(verdict["sentence"], markup=False)
    for line in found.not_tried:
        show.console.print(f"not tried, {line}", style="dim", markup=False)
    show.console.print(f"report, to keep private: {found.report}/report.html", soft_wrap=True, markup=False)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("verify")(errors_in_one_line(settings_of(VerifyConfig)(verify)))
