"""semshard plan SOURCE --workers N --gpus M"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig

from .command import errors_in_one_line, settings_of, source_options
from .event_log import logged, record_result
from .options import Device, Json, Preset, Source
from .values import rates, share

if TYPE_CHECKING:
    from semshard import Cluster, Forecast

_MACHINES, _ASSUMPTIONS = "Machines", "Assumptions"
_RELIEF = {  # what half as much of it means, for people
    "cores": "cores twice as fast, or twice as many of each worker",
    "GPUs": "twice as many GPUs",
    "surrogate": "half the time of the surrogate",
    "listing": "a source that is listed in half the time",
    "reading": "inputs read in half the time",
    "writing": "half the bytes to write",
    "finish": "a finish in half the time",
    "shard size": "shards of half the size",
    "stragglers": "no slow shards",
    "failures": "no failures and no preemption",
}

Workers = Annotated[
    Optional[int],
    typer.Option(
        min=1,
        help="Workers, each making a shard at a time. Without it, one for each GPU, or for each core of this machine.",
    ),
]
Gpus = Annotated[int, typer.Option(min=0, help="GPUs that the workers share; with 0 their cores make the noise.")]
Images = Annotated[
    Optional[int],
    typer.Option(min=1, help="Number of inputs, where the source is larger elsewhere; this one is the sample then."),
]
CostPerHour = Annotated[
    float, typer.Option(min=0, help="Price of a worker with its share of a GPU for an hour, in any currency.")
]
CpusPerWorker = Annotated[int, typer.Option(min=1, help="Cores of each worker.", rich_help_panel=_MACHINES)]
ScanCores = Annotated[
    Optional[int],
    typer.Option(
        min=1,
        help="Cores of the machine that lists and scans; without it, as many as this machine has.",
        rich_help_panel=_MACHINES,
    ),
]
SurrogateDevices = Annotated[
    int,
    typer.Option(
        min=1,
        help="Devices that train the surrogate: GPUs where there are some, else machines like this one.",
        rich_help_panel=_MACHINES,
    ),
]
Speed = Annotated[
    float,
    typer.Option(
        help="Speed of a core of a worker, that of a core of this machine being 1.", rich_help_panel=_MACHINES
    ),
]
Bandwidth = Annotated[
    Optional[float],
    typer.Option(
        metavar="BYTES/S",
        help="What the storage moves for all workers together, like 10e9; without a limit if left out.",
        rich_help_panel=_MACHINES,
    ),
]
GpuImages = Annotated[
    Optional[float],
    typer.Option(
        metavar="IMAGES/S",
        help="Images that a GPU crafts per second. Without it, measured on the GPU of this machine, or counted.",
        rich_help_panel=_MACHINES,
    ),
]
GpuRates = Annotated[
    str,
    typer.Option(
        metavar="FLOP,BYTES",
        help="Operations and bytes per second that a GPU is counted with; these were measured on an NVIDIA H200.",
        rich_help_panel=_ASSUMPTIONS,
    ),
]
GpuShare = Annotated[
    str,
    typer.Option(
        metavar="SHARE", help="Share of these rates that a GPU reaches: a guess.", rich_help_panel=_ASSUMPTIONS
    ),
]
Start = Annotated[
    Optional[float],
    typer.Option(
        min=0, help="Seconds until a new worker is ready; as measured here if left out.", rich_help_panel=_ASSUMPTIONS
    ),
]
Stragglers = Annotated[
    str,
    typer.Option(
        metavar="SHARE",
        help="Share of the shards that take 1.5 to 10 times as long as the others: a guess.",
        rich_help_panel=_ASSUMPTIONS,
    ),
]
Failures = Annotated[
    float,
    typer.Option(
        min=0,
        help="Failures of a worker per hour, each with the shard in hand; the default is that of the training of "
        "Llama 3 (arXiv 2407.21783: 419 in 54 days on 16,384 GPUs).",
        rich_help_panel=_ASSUMPTIONS,
    ),
]
Preemptions = Annotated[
    float,
    typer.Option(
        min=0, help="Preemptions of a worker per hour, for machines that have them.", rich_help_panel=_ASSUMPTIONS
    ),
]
Replacement = Annotated[
    float,
    typer.Option(
        min=0, help="Seconds until another machine is there for a preempted one: a guess.", rich_help_panel=_ASSUMPTIONS
    ),
]
Runs = Annotated[int, typer.Option(min=1, help="Number of simulated runs.", rich_help_panel=_ASSUMPTIONS)]


@errors_in_one_line
@logged
@source_options
@settings_of(ProtectConfig)
def plan(
    source: Source,
    *,
    workers: Workers = None,
    gpus: Gpus = 0,
    images: Images = None,
    cost_per_hour: CostPerHour = 0,
    preset: Preset = "auto",
    settings: dict[str, Any],
    options: Any,
    cpus_per_worker: CpusPerWorker = 1,
    scan_cores: ScanCores = None,
    surrogate_devices: SurrogateDevices = 1,
    speed: Speed = 1,
    bandwidth: Bandwidth = None,
    gpu_images: GpuImages = None,
    gpu_rates: GpuRates = "788e12,4.3e12",
    gpu_share: GpuShare = "25%",
    start: Start = None,
    stragglers: Stragglers = "5%",
    failures: Failures = 2e-5,
    preemptions: Preemptions = 0,
    replacement: Replacement = 120,
    runs: Runs = 40,
    surrogate: Annotated[
        Optional[Path],
        typer.Option(help="A trained surrogate that would be used; none is trained then.", rich_help_panel="Surrogate"),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Forecast a run on many machines: time, bytes and cost.

    A few real steps are measured on this machine; then runs on the machines that are asked for are simulated, with
    slow shards, failures and preemption. Nothing is written.
    """
    import semshard

    from .watch import Watch

    cluster = semshard.Cluster(
        workers=workers or gpus or _cores(), gpus=gpus, cores=cpus_per_worker, scan_cores=scan_cores or 0,
        surrogate_devices=surrogate_devices, speed=speed, gpu_images=gpu_images or 0.0,
        gpu_rates=rates(gpu_rates) or (0.0, 0.0), gpu_share=share(gpu_share), start=-1.0 if start is None else start,
        stragglers=share(stragglers), failures=failures, preemptions=preemptions, replacement=replacement,
        bandwidth=math.inf if bandwidth is None else bandwidth, cost_per_hour=cost_per_hour,
    )  # fmt: skip
    with Watch() as watch:
        result = semshard.forecast(
            source, cluster, images=images or 0, runs=runs, preset=preset, surrogate=surrogate, device=device,
            options=options, progress=watch, **settings,
        )  # fmt: skip
    record_result(result.to_json)
    _as_json(result) if json else _show(result)


def _cores() -> int:
    from semshard.cores import allowed

    return allowed()


def _as_json(result: Forecast) -> None:
    from . import show

    show.as_json(result.to_json())


def _show(result: Forecast) -> None:
    from rich.text import Text

    from . import show

    cluster, read = result.cluster, show.size(result.bytes_read)
    size = f"{result.width} × {result.height} pixels" if result.width else "each at its own resolution"
    rows = [
        ("images", f"{result.images:,} of {result.inputs:,} inputs, {size}, {result.classes} classes"),
        ("bytes", f"{read} read, {show.size(result.bytes_written)} written in {result.shards:,} shards"),
        ("rate", f"{result.images_per_second:,.0f} images/s while shards are made"),
        ("lost", f"{result.lost_shards:,.1f} shards that were begun" if result.lost_shards else "nothing"),
        ("worker hours", f"{_hours(result.worker_hours)}, and {_hours(result.waiting_hours)} of waiting if all stay"),
    ]
    if result.cost:
        rows.append(("cost", f"{result.cost:,.2f} without waiting, {result.cost_per_million:,.2f} per million images"))
    show.facts(f"forecast for {_machines(cluster)}", rows)
    show.table(
        f"time, of {'1 run' if result.runs == 1 else f'{result.runs} runs'}",
        ("phase", "a tenth is below", "median", "a tenth is above"),
        [
            (phase, *(show.duration(value) for value in (spread.low, spread.median, spread.high)))
            for phase, spread in result.seconds.items()
        ],
    )
    most = sorted(result.saved.items(), key=lambda item: -item[1])[:3]
    total = result.seconds["total"].median
    show.console.print(Text.assemble(("bottleneck", "bold"), f": {result.bottleneck}. What would save most:"))
    for name, seconds in most:
        if seconds > 0.005 * total:
            show.console.print(f"  {_RELIEF[name]}: {show.duration(seconds)}, {seconds / total:.0%}")
    for sentence in result.assumed:
        show.console.print(f"not measured: {sentence}", style="dim")


def _machines(cluster: Cluster) -> str:
    """The machines, in words."""

    def count(number: int, what: str) -> str:
        return f"{number:,} {what}{'s' * (number != 1)}"

    gpus = f" and {count(cluster.gpus, 'GPU')}" if cluster.gpus else ""
    return f"{count(cluster.workers, 'worker')} of {count(cluster.cores, 'core')}{gpus}"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.3g}"
