"""semshard bench"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from semshard.config import ProtectConfig

from .command import Device, Json, Preset, errors_in_one_line, settings_of


def bench(
    settings: dict[str, Any],
    *,
    preset: Preset = "auto",
    device: Device = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Runs that each median is taken of.")] = 3,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures for the data path; 0 leaves it out.")] = 2_000,
    json: Json = False,
) -> None:
    """Measure this machine: ceilings, the steps of a preset beside a plain baseline, data path, memory."""
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        result = semshard.bench(
            preset=preset, device=device, repeats=repeats, pictures=pictures, progress=watch, **settings
        )
    if json:
        show.as_json(result.to_json())
        return
    best, hardware, settings = result.convolutions, result.hardware, result.settings
    show.facts(
        f"{hardware['device']}, {hardware['threads']} threads, torch {hardware['torch']}",
        [
            ("matrix product", f"{result.matrix_product / 1e9:,.0f} GFLOP/s"),
            ("ceiling: the convolutions alone", f"{best / 1e9:,.0f} GFLOP/s, forward and input gradient"),
            *((f"Eq. 10, {n} draws together", f"{1e3 * seconds:,.1f} ms") for n, seconds in result.folds.items()),
        ],
    )
    show.table(
        f"semshard beside plain float32: {settings['network']}, batch {settings['batch']}, {settings['precision']}",
        ("step", "ms", "images/s", "GFLOP/s", "of ceiling", "plain ms", "ratio"),
        [
            (
                step.name,
                f"{1e3 * step.seconds:,.1f}",
                f"{step.images_per_second:,.0f}",
                f"{step.flop_per_second / 1e9:,.0f}",
                f"{step.flop_per_second / best:.0%}",
                f"{1e3 * step.plain_seconds:,.1f}",
                f"{step.ratio:.2f} ×",
            )
            for step in result.steps
        ],
    )
    if result.data_path:
        show.facts(
            "data path",
            [
                *((name, f"{rate:,.0f} images/s") for name, rate in result.data_path.items()),
                *((f"peak memory at {n:,} images", show.size(peak)) for n, peak in result.peak_memory.items()),
            ],
        )


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("bench")(errors_in_one_line(settings_of(ProtectConfig)(bench)))
