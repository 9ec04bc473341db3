"""semshard bench"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig

from .command import errors_in_one_line, settings_of
from .event_log import logged, record_result
from .options import Device, Json, Preset

if TYPE_CHECKING:
    from semshard import BenchResult


@errors_in_one_line
@logged
@settings_of(ProtectConfig)
def bench(
    *,
    preset: Preset = "auto",
    settings: dict[str, Any],
    device: Device = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Number of runs per median.")] = 3,
    methods: Annotated[
        Optional[str],
        typer.Option(metavar="V,…", help="Further methods to measure, like sem,rem,em; all (the default), or none."),
    ] = None,
    neighbours: Annotated[
        bool, typer.Option("--neighbours/--no-neighbours", help="Measure steps beside other programs, on a CPU.")
    ] = True,
    pictures: Annotated[
        int,
        typer.Option(min=0, help="Pictures for the data path; 0 leaves it, crafting in processes and photographs out."),
    ] = 2_000,
    json: Json = False,
) -> None:
    """Measure the speed of this machine.

    Ceilings, steps beside a plain baseline and beside other programs, methods, photographs, crafting in processes, data
    path, memory.
    """
    import semshard

    from . import show
    from .watch import Watch

    names = {None: None, "all": None, "none": []}.get(methods, (methods or "").split(","))
    with Watch() as watch:
        result = semshard.bench(
            preset=preset, device=device, repeats=repeats, methods=names, neighbours=neighbours, pictures=pictures,
            progress=watch, **settings,
        )  # fmt: skip
    record_result(result.to_json)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)


def _show(result: BenchResult) -> None:
    from . import show

    best, hardware = result.convolutions, result.hardware
    show.facts(
        f"{hardware['device']}, {hardware['threads']} threads, torch {hardware['torch']}",
        [
            ("matrix product", f"{result.matrix_product / 1e9:,.0f} GFLOP/s"),
            ("ceiling: the convolutions alone", f"{best / 1e9:,.0f} GFLOP/s, forward and input gradient"),
            *((f"Eq. 10, {n} draws together", f"{1e3 * seconds:,.1f} ms") for n, seconds in result.folds.items()),
        ],
    )
    _show_steps(result)
    if result.neighbours:
        _show_neighbours(result)
    if result.methods:
        _show_methods(result)
    if result.photographs:
        _show_photographs(result)
    if result.crafting:
        _show_crafting(result)
    if result.data_path:
        show.facts(
            "data path",
            [
                *((name, f"{rate:,.0f} images/s") for name, rate in result.data_path.items()),
                *((f"peak memory at {n:,} images", show.size(peak)) for n, peak in result.peak_memory.items()),
                *(
                    (f"peak memory of a process of {hardware['threads']} at {n:,} images", show.size(peak))
                    for n, peak in result.peak_memory_of_worker.items()
                ),
            ],
        )


def _show_steps(result: BenchResult) -> None:
    from . import show

    settings = result.settings
    show.table(
        f"semshard beside plain float32: {settings['network']}, batch {settings['batch']}, {settings['precision']}",
        ("step", "ms", "images/s", "GFLOP/s", "of ceiling", "plain ms", "ratio"),
        [
            (
                step.name,
                f"{1e3 * step.seconds:,.1f}",
                f"{step.images_per_second:,.0f}",
                f"{step.flop_per_second / 1e9:,.0f}",
                f"{step.flop_per_second / result.convolutions:.0%}",
                f"{1e3 * step.plain_seconds:,.1f}",
                f"{step.ratio:.2f} ×",
            )
            for step in result.steps
        ],
    )


def _show_neighbours(result: BenchResult) -> None:
    from . import show

    steps = list(result.neighbours[0].rates)
    show.table(
        f"beside other programs: images/s, and their share of the quiet rate; {result.hardware['threads']} cores",
        ("beside it", "fair share", *(name for step in steps for name in (step, "share"))),
        [
            (
                f"{case.count} × {case.kind}" if case.count else "nothing",
                f"{case.fair_share:.2f}",
                *(text for step in steps for text in (f"{case.rates[step]:,.1f}", f"{case.shares[step]:.2f}")),
            )
            for case in result.neighbours
        ],
    )


def _show_methods(result: BenchResult) -> None:
    from . import show

    preset, images = result.settings["preset"], result.methods[0].images
    show.table(
        f"methods; the whole: a surrogate of {preset} and {images:,} images",
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


def _show_photographs(result: BenchResult) -> None:
    from . import show

    show.table(
        f"crafting photographs, preset {result.settings['preset']}",
        ("pixels", "photographs/s", "share of passes", "peak memory"),
        [
            (
                f"{size.width:,} × {size.height:,}",
                f"{size.per_second:,.1f}",
                f"{size.passes:.0%}",
                show.size(size.peak_memory),
            )
            for size in result.photographs
        ],
    )


def _show_crafting(result: BenchResult) -> None:
    from . import show

    alone = result.crafting[0]
    show.table(
        f"crafting in processes, preset {result.settings['preset']}, {alone.images:,} images, one core each",
        ("processes", "images/s", "ratio", "with start", "ratio", "peak memory of one"),
        [
            (
                str(of.workers),
                f"{of.per_second:,.1f}",
                f"{of.per_second / alone.per_second:.2f} ×",
                f"{of.with_start:,.1f}",
                f"{of.with_start / alone.with_start:.2f} ×",
                show.size(of.peak_memory),
            )
            for of in result.crafting
        ],
    )
