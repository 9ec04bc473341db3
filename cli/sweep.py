"""semshard sweep SOURCE --out DIR --setting steps --values 100,200,400"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig, VerifyConfig, parse

from .command import errors_in_one_line, settings_of, source_options
from .event_log import logged, record_result
from .options import CheckpointSeconds, Device, Json, MaxRejects, Preset, Source
from .values import pairs, setting_name, share
from .workers import FOR_SHARDS, worker_options

if TYPE_CHECKING:
    from semshard import SweepResult


@errors_in_one_line
@logged
@source_options
@worker_options(*FOR_SHARDS)
@settings_of(ProtectConfig)
def sweep(
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="Folder for the shards of each value, table and plot. Keep it private.")],
    setting: Annotated[str, typer.Option(metavar="NAME", help="The setting to compare values of, like steps.")],
    values: Annotated[str, typer.Option(metavar="V,V,…", help="The values to compare, like 100,200,400.")],
    victim: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME=V", help="A setting of the victims, as verify has it: rho_a=0,2/255. Repeat the option."
        ),
    ] = None,
    preset: Preset = "auto",
    settings: dict[str, Any],
    options: Any,
    workers: Any,
    max_rejects: MaxRejects = "1%",
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    json: Json = False,
) -> None:
    """Compare protections that differ in one setting.

    Protects once for each value, trains victims on each, and draws their accuracy against it.
    """
    import semshard

    from . import show
    from .watch import Watch

    setting = setting_name(setting)
    settings |= {"preset": preset, "device": device, "max_rejects": share(max_rejects), "options": options}
    settings |= {"victim": pairs(VerifyConfig, victim), "checkpoint_seconds": checkpoint_seconds}
    several = [parse(ProtectConfig, setting, text) for text in values.split(",")]
    with Watch() as watch:
        result = semshard.sweep(source, out, setting, several, workers=workers, progress=watch, **settings)
    record_result(result.to_json)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)


def _show(result: SweepResult) -> None:
    from . import show

    radii = list(dict.fromkeys(cell.rho_a for cell in result.cells))
    cells = {(str(cell.value), cell.rho_a): cell for cell in result.cells}
    show.table(
        f"test accuracy on clean images, final (best), %; {result.setting}",
        ("trained on", *(f"at {rho}" for rho in radii)),
        [
            (value if value != "None" else "clean images", *(_accuracy(cells[value, rho]) for rho in radii))
            for value in ("None", *map(str, result.values))
        ],
    )
    victim, tested = result.victim, result.samples["test"]
    show.facts(
        f"{len(result.values)} values; surrogates trained: {result.surrogates}",
        [
            ("victims", f"{victim['victim'][0]}, {victim['steps']} steps, tested on {tested:,} images"),
            ("chance", f"{result.chance:.1%}"),
            ("table, to keep private", f"{result.out}/sweep.json"),
            ("plot", f"{result.out}/sweep.png"),
        ],
    )


def _accuracy(cell: Any) -> str:
    return f"{100 * cell.final:.1f} ({100 * cell.best:.1f})"
