"""semshard robustness SHARDS… --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from semshard.settings import COUNTERED, VerifyConfig

from .command import Device, Json, Preset, errors_in_one_line, settings_of

_NONE = "wants three points that differ, with a surrogate each"


def robustness(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARDS…", help="Folders that protect or sweep wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the table and the scatter plot.")],
    settings: dict[str, Any],
    *,
    images: Annotated[int, typer.Option(min=1, help="Images that the losses are means over.")] = 1000,
    preset: Preset = "auto",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure how robust surrogate and noise are (Definitions 1 and 2), and how that goes with protection."""
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        found = semshard.robustness(
            shards, out, images=images, preset=preset, device=device, progress=watch, **settings
        )
    if json:
        show.as_json(found.to_json())
        return
    show.table(
        f"robustness and protection at {found.rho_a}",
        ("shards", "method", "steps", "R_θ", "R_δu", "F = 1 − accuracy"),
        [
            (
                point.name,
                point.method,
                f"{point.steps:,}",
                "no surrogate" if point.surrogate is None else f"{point.surrogate:.3f}",
                f"{point.noise:.3f}",
                f"{point.protection:.1%}",
            )
            for point in found.points
        ],
    )
    show.facts(
        "Pearson's r with protection",
        [
            *((name, _NONE if r is None else f"{r:+.2f}") for name, r in found.correlation.items()),
            ("table", f"{found.out}/robustness.json"),
            ("plot", f"{found.out}/robustness.png"),
        ],
    )


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("robustness")(errors_in_one_line(settings_of(VerifyConfig, COUNTERED)(robustness)))
