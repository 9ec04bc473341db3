"""semshard protect SOURCE --out DIR"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from semshard.launch import launch
from semshard.settings import ProtectConfig

from .command import errors_in_one_line, settings_of, source_options
from .event_log import logged, record_result
from .options import (
    IN_PIECES,
    CheckpointSeconds,
    Device,
    Json,
    Licence,
    MaxRejects,
    PassphraseFile,
    Preset,
    Source,
    Title,
)
from .passphrase import ask_passphrase
from .values import share
from .workers import worker_options

if TYPE_CHECKING:
    from semshard import Plan, ProtectResult


@errors_in_one_line
@logged
@source_options
@worker_options()
@settings_of(ProtectConfig)
def protect(
    source: Source,
    *,
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Folder for the shards, or s3://…, gs://… or az://…; the private ledger is written beside it.",
        ),
    ],
    ledger: Annotated[
        Optional[str],
        typer.Option(
            metavar="DIR",
            help="Place of the private ledger of shards on an object store, where it is not OUT.ledger: a folder or s3://….",
            rich_help_panel="Output",
        ),
    ] = None,
    preset: Preset = "auto",
    settings: dict[str, Any],
    options: Any,
    workers: Any,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace shards made with other settings or of other files.")
    ] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Add new images of the same classes to a finished output, in shards of their own.",
            rich_help_panel="Output",
        ),
    ] = False,
    retry_rejects: Annotated[
        bool,
        typer.Option(
            "--retry-rejects",
            help="Add rejected files that can be read now to a finished output, in shards of their own.",
            rich_help_panel="Output",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print what would be done; time and bytes come from a few real steps."),
    ] = False,
    surrogate: Annotated[
        Optional[Path],
        typer.Option(help="Use this trained surrogate instead of training one.", rich_help_panel="Surrogate"),
    ] = None,
    max_rejects: MaxRejects = "1%",
    sign_key: Annotated[
        Optional[Path],
        typer.Option(metavar="FILE", help="Sign the finished shards with this private key.", rich_help_panel="Output"),
    ] = None,
    passphrase_file: PassphraseFile = None,
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    title: Title = None,
    licence: Licence = None,
    until: Annotated[
        Optional[str],
        typer.Option(
            metavar="STEP",
            help="End after this step: surrogate. Then the shards can be made in numbered parts.",
            rich_help_panel=IN_PIECES,
        ),
    ] = None,
    part: Annotated[
        Optional[str],
        typer.Option(
            metavar="I/N",
            help="Make part I, from 1 to N, of the shards; any number of processes on one shared folder do so at once, "
            "in any order. auto: I and N from a SLURM or AWS Batch array; auto/N: I from one of these, or from a "
            "Kubernetes job with indexed completion.",
            rich_help_panel=IN_PIECES,
        ),
    ] = None,
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Write the manifest and the data card, and sign, when all parts have made their shards.",
            rich_help_panel=IN_PIECES,
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write protected WebDataset shards of an image collection."""
    import semshard

    from . import show
    from .watch import Watch

    if launch().size > 1:
        raise semshard.UsageError(
            "protect is one process: start train with torchrun, then protect alone with --surrogate FILE"
        )
    if dry_run and (extend or retry_rejects):
        raise semshard.UsageError("--dry-run is of a whole run; leave out --extend and --retry-rejects")
    is_step = until is not None or part is not None
    if dry_run and (is_step or finish):
        raise semshard.UsageError("--dry-run is of a whole run; leave out --until, --part and --finish")
    settings |= {"preset": preset, "device": device, "max_rejects": share(max_rejects), "options": options}
    passphrase = ask_passphrase(passphrase_file) if sign_key and not (dry_run or is_step) else ""
    result: Plan | ProtectResult
    with Watch() as watch:
        if dry_run:
            result = semshard.plan(source, out, surrogate=surrogate, progress=watch, **settings)
        else:
            if sign_key:
                settings |= {"sign_key": sign_key, "passphrase": passphrase}
            settings |= {"overwrite": overwrite, "checkpoint_seconds": checkpoint_seconds}
            settings |= {"extend": extend, "retry_rejects": retry_rejects}
            settings |= {"title": title, "licence": licence, "workers": workers}
            settings |= {"until": until, "part": part, "finish": finish}
            settings |= {"ledger": ledger}
            result = semshard.protect(source, out, surrogate=surrogate, progress=watch, **settings)
    record_result(lambda: asdict(result))
    if json:
        show.as_json(asdict(result))
    elif isinstance(result, semshard.Plan):
        _show_plan(result)
    elif result.next:
        _show_step(result)
    else:
        _show(result, finish)


def _show_plan(plan: Plan) -> None:
    from . import show

    size = f"{plan.width} × {plan.height} pixels" if plan.width else "each at its own resolution"
    show.facts(
        "would be done",
        [
            ("images", f"{plan.images:,} of {plan.inputs:,} inputs, {size}, {plan.classes} classes"),
            ("shards", f"{plan.shards:,} in {plan.out}"),
            ("bytes", f"about {show.size(plan.bytes)}"),
            *((f"time, {phase}", f"about {show.duration(seconds)}") for phase, seconds in plan.seconds.items()),
            *((f"operations, {phase}", _operations(flop)) for phase, flop in plan.flop.items()),
            ("settings", "  ".join(f"{name}={value}" for name, value in plan.settings.items())),
        ],
    )


def _operations(flop: float) -> str:
    """A number of floating-point operations, three digits of it, in GFLOP or PFLOP."""
    unit, size = ("PFLOP", 1e15) if flop >= 1e14 else ("GFLOP", 1e9)
    return f"{float(f'{flop / size:.3g}'):,g} {unit}"


def _show_step(result: ProtectResult) -> None:
    """What one step of a run did."""
    from . import show

    of_part = [
        ("samples", f"{result.samples:,}, {show.size(result.bytes)}"),
        ("largest noise", f"{result.linf_max}/255"),
        ("mean PSNR", f"{result.psnr_mean:.2f} dB"),
    ]
    show.facts(
        f"part {result.part}" if result.part else "ready for the parts",
        [
            ("shards", f"{result.shards:,}" + (f", {result.made:,} made by this call" if result.part else "")),
            *(of_part if result.samples else []),
            ("rejected", f"{result.rejected:,}"),
            ("time", ", ".join(f"{phase} {show.duration(seconds)}" for phase, seconds in result.seconds.items())),
            ("next", result.next),
        ],
    )


def _show(result: ProtectResult, finish: bool) -> None:
    from . import show

    if not result.made and not finish:
        made_of = "made with these settings from files with these names"
        show.console.print(f"Nothing to do: {result.out} is finished, {made_of}.")
    show.facts(
        "protected",
        [
            ("samples", f"{result.samples:,} in {result.shards:,} shards, {show.size(result.bytes)}"),
            ("rejected", f"{result.rejected:,}" + (f", see {result.ledger}/rejects.jsonl" if result.rejected else "")),
            *([("duplicates", f"{result.duplicates:,}")] if result.duplicates else []),
            ("largest noise", f"{result.linf_max}/255"),
            ("mean PSNR", f"{result.psnr_mean:.2f} dB"),
            *([("signed", "manifest.dsse.json")] if result.signed else []),
            ("time", ", ".join(f"{phase} {show.duration(seconds)}" for phase, seconds in result.seconds.items())),
            ("shards, to publish", result.out),
            ("ledger, to keep private", result.ledger),
        ],
    )
