"""semshard verify SHARDS"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.settings import VerifyConfig

from .command import errors_in_one_line, settings_of
from .event_log import logged, record_result
from .options import Clean, Device, Json, LedgerPlace, Preset, ShardsPlace
from .values import optional_share
from .workers import FOR_SHARDS, worker_options

_STYLE = {
    "protects": "green",
    "weakens": "yellow",
    "borderline": "yellow",
    "does not protect": "red",
    "cannot tell": "dim",
    "not compared": "dim",
}

_COLUMNS = (  # what they mean
    "best: the highest on the way, as if the thief knew the test images and stopped then",
    "control: originals with random noise of the same size",
    "share: how much the shards still teach of what the originals teach above chance (95 % interval)",
)

_NAMES = {"clean": "originals", "protected": "shards", "control": "control", "rest": "the rest"}

Weights = Annotated[
    Optional[str],
    typer.Option(
        help="Start victims from these: a safetensors file (pixel − 0.5, unless its metadata has mean and std), "
        "or a torchvision name in its cache.",
        rich_help_panel="Attackers",
    ),
]
RequireBelow = Annotated[
    Optional[str],
    typer.Option(
        metavar="SHARE",
        help="Exit with 1 when the strongest attacker's best accuracy is above this, like 35% or 0.35.",
    ),
]
RequireDrop = Annotated[
    Optional[str],
    typer.Option(
        metavar="SHARE",
        help="Exit with 1 when the strongest attacker is less than this below its accuracy on the originals.",
    ),
]


@errors_in_one_line
@logged
@worker_options(*FOR_SHARDS)
@settings_of(VerifyConfig)
def verify(
    shards: ShardsPlace,
    *,
    preset: Preset = "auto",
    settings: dict[str, Any],
    clean: Clean = None,
    ledger: LedgerPlace = None,
    report: Annotated[
        Optional[Path], typer.Option(help="Folder for report.json and report.html; SHARDS.report by default. Private.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print who would train, and an estimate of time."),
    ] = False,
    require_below: RequireBelow = None,
    require_drop: RequireDrop = None,
    weights: Weights = None,
    workers: Any,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train attackers on the shards and judge the protection.

    Each attacker is tested on clean images that it never saw; the strongest decides, and is trained on originals and on
    control images, too. What is found holds for these attackers, at these radii, on this collection.
    Options like --rho-a RADIUS,… take several values: separate them by commas, or repeat the option.
    """
    import semshard

    from . import show
    from .watch import Watch

    below, drop = optional_share(require_below), optional_share(require_drop)
    settings |= {"preset": preset, "weights": weights, "workers": workers, "device": device}
    with Watch() as watch:
        if dry_run:
            plan = semshard.plan_verification(
                shards, clean=clean, ledger=ledger, report=report, progress=watch, **settings
            )
        else:
            found = semshard.verify(shards, clean=clean, ledger=ledger, report=report, progress=watch, **settings)
    if dry_run:
        show.as_json(plan.to_json()) if json else _show_plan(plan)
        return
    record_result(found.to_json)
    if json:
        show.as_json(found.to_json())
    else:
        _show(found)
    _require(found, below, drop)


def _show_plan(plan: Any) -> None:
    from . import show

    rows = [(each.name, str(each.victims), show.duration(each.seconds)) for each in plan.attackers]
    show.table("would be trained", ("attacker", "victims", "each"), rows)
    show.console.print(plan.sentence)


def _require(found: Any, below: float | None, drop: float | None) -> None:
    import semshard

    who = f"the strongest attacker, {found.verdict['attacker']},"
    if below is not None and found.worst() > below:
        raise semshard.RunError(f"{who} reaches {found.worst():.1%}, above --require-below {below:.1%}")
    if drop is not None and found.drop() < drop:
        lower = f"is {100 * found.drop():.1f} points below itself on the originals"
        raise semshard.RunError(f"{who} {lower}, less than --require-drop {drop:.1%}")


def _share(each: Any) -> str:
    """A retained share with its interval."""
    if each.retained_share is None:
        return ""
    return f"{each.retained_share:.2f} ({each.share_interval[0]:.2f} to {each.share_interval[1]:.2f})"


def _under_pgd(found: Any) -> Iterator[str]:
    """What each adversarially trained attacker reaches under an attack of its own radius."""
    about = "; after the shards that leaves little, for the noise that the network reads is missing there"
    for each in found.attackers:
        known = {kind: of.under_pgd for kind, of in each.data.items() if of.under_pgd is not None}
        if known:
            figures = ", ".join(f"{_NAMES[kind]} {100 * share:.1f}" for kind, share in known.items())
            failed = ": adversarial training has failed, see the sentence in the report" if each.collapsed else ""
            yield f"under PGD-10 at its own radius, on clean images, {each.attacker.name}: {figures}{failed}{about}"
            about = ""  # said once


def _show(found: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from . import show

    title = "accuracy on clean images, final (best), %"
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("attacker", min_width=len("adversarial"))  # all of it fits into 80 columns then
    for head in ("originals", "shards", "control", *(["the rest"] if found.partly else []), "share", "verdict"):
        table.add_column(head, justify="left" if head == "verdict" else "right", min_width=len("originals"))
    for each in found.attackers:
        reached = {kind: f"{100 * of.final:.1f} ({100 * of.best:.1f})" for kind, of in each.data.items()}
        rest = [reached.get("rest", "")] if found.partly else []
        verdict = Text.assemble((each.verdict, _STYLE[each.verdict]), ", still rises" if each.still_rises else "")
        figures = reached.get("clean", ""), reached["protected"], reached.get("control", ""), *rest, _share(each)
        table.add_row(each.attacker.name, *figures, verdict)
    seeds = len(found.attackers[0].data["protected"].seeds)
    majority = f", largest class {found.majority:.1%}" if found.majority else ""
    table.caption = (
        f"trained on {found.samples['train']:,}, tested on {found.samples['test']:,} held-out images, "
        f"{seeds} seed{'s' if seeds > 1 else ''}, chance {found.chance:.1%}{majority}"
    )
    show.console.print(table)
    for line in (*_COLUMNS, *_under_pgd(found)):
        show.console.print(line, style="dim")
    overall = found.verdict
    verdict = Text(overall["verdict"], f"bold {_STYLE[overall['verdict']]}")
    show.console.print(Text.assemble(verdict, f": {overall['sentence']} {overall['theory']}"))
    for line in found.not_tried:
        show.console.print(f"not tried, {line}", style="dim")
    show.console.print(f"report, to keep private: {found.report}/report.html", soft_wrap=True)
