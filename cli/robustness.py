"""semshard robustness SHARDS… --out DIR"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semshard.settings import VerifyConfig

from .command import errors_in_one_line, settings_of
from .event_log import logged, record_result
from .options import Device, Json, Preset

if TYPE_CHECKING:
    from semshard import RobustnessResult

_NO_CORRELATION = "needs three different points, each with a surrogate"


@errors_in_one_line
@logged
@settings_of(VerifyConfig, run="study")
def robustness(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARDS…", help="Folders that protect or sweep wrote.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for the table and the scatter plot.")],
    preset: Preset = "auto",
    settings: dict[str, Any],
    images: Annotated[int, typer.Option(min=1, help="Number of images that the losses are averaged over.")] = 1000,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure how robust surrogates and their noise are.

    Definitions 1 and 2 of the paper, and how they correlate with protection.
    """
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        result = semshard.robustness(
            shards, out, images=images, preset=preset, device=device, progress=watch, **settings
        )
    record_result(result.to_json)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)


def _show(result: RobustnessResult) -> None:
    from . import show

    show.table(
        f"robustness and protection at {result.rho_a}",
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
            for point in result.points
        ],
    )
    show.facts(
        "Pearson's r with protection",
        [
            *((name, _NO_CORRELATION if r is None else f"{r:+.2f}") for name, r in result.correlation.items()),
            ("table", f"{result.out}/robustness.json"),
            ("plot", f"{result.out}/robustness.png"),
        ],
    )
