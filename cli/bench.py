"""semshard bench"""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig

from .command import Device, Json, Preset, errors_in_one_line, settings_of


def bench(
    settings: dict[str, Any],
    *,
    preset: Preset = "auto",
    device: Device = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Runs that each median is taken of.")] = 3,
    methods: Annotated[
        Optional[str], typer.Option(help="Methods to measure beside it, like sem,rem,em; all, or none.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Pictures for the data path; 0 leaves it out.")] = 2_000,
    json: Json = False,
) -> None:
    """Measure this machine: ceilings, steps beside a plain baseline, methods, data path, memory."""
    import semshard

    from . import show
    from .watch import Watch

    names = {None: None, "all": None, "none": []}.get(methods, (methods or "").split(","))
    with Watch() as watch:
        result = semshard.bench(
            preset=preset, device=device, repeats=repeats, methods=names, pictures=pictures, progress=watch, **settings
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
    if result.methods:
        show.table(
            f"methods; the whole: a surrogate of {settings['preset']} and {result.methods[0].images:,} images",
            ("method", "step ms", "crafting images/s", "whole", "peak memory"),
            [
                (
                    method.name,
                    "–" if method.step is None else f"{1e3 * method.step:,.0f}",
                    f"{method.crafting:,.0f}",
                    show.duration(method.whole),
                    show.size(method.peak_memory),
                )
                for method in result.methods
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
