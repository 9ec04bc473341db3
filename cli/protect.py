"""semshard protect SOURCE --out DIR"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig

from .command import Device, Json, Preset, errors_in_one_line, settings_of, share, source_options

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="A folder whose subfolders are classes, or another kind: `semshard sources` lists them."
    ),
]
MaxRejects = Annotated[str, typer.Option(help="Stop when more than this share of the inputs is unusable.")]
CheckpointSeconds = Annotated[float, typer.Option(help="Time between checkpoints of the surrogate's training.")]


def protect(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the shards; its private ledger is written beside it.")],
    settings: dict[str, Any],
    options: Any,
    *,
    preset: Preset = "auto",
    surrogate: Annotated[
        Optional[Path], typer.Option(help="Use this trained surrogate instead of training one.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace shards made with other settings.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; time and bytes are measured by a few real steps.")
    ] = False,
    max_rejects: MaxRejects = "1%",
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    json: Json = False,
) -> None:
    """Write protected WebDataset shards of an image collection."""
    import semshard

    from . import show
    from .watch import Watch

    common: dict[str, Any] = {
        "preset": preset, "device": device, "max_rejects": share(max_rejects), "options": options, **settings
    }  # fmt: skip
    if dry_run:
        with Watch() as watch:
            plan = semshard.plan(source, out, surrogate=surrogate, progress=watch, **common)
        if json:
            show.as_json(plan.to_json())
            return
        size = f"{plan.width} × {plan.height} pixels" if plan.width else "each at its own resolution"
        what = f"{size}, {plan.classes} classes"
        show.facts(
            "would be done",
            [
                ("images", f"{plan.images:,} of {plan.inputs:,} inputs, {what}"),
                ("shards", f"{plan.shards:,} in {plan.out}"),
                ("bytes", f"about {show.size(plan.bytes)}"),
                *((f"time, {phase}", f"about {show.duration(seconds)}") for phase, seconds in plan.seconds.items()),
                ("settings", "  ".join(f"{name}={value}" for name, value in plan.settings.items())),
            ],
        )
        return
    with Watch() as watch:
        result = semshard.protect(
            source,
            out,
            surrogate=surrogate,
            overwrite=overwrite,
            checkpoint_seconds=checkpoint_seconds,
            progress=watch,
            **common,
        )
    if json:
        show.as_json(asdict(result))
        return
    if not result.made:
        show.console.print(f"Nothing to do: {result.out} is finished, made with these settings from these files.")
    show.facts(
        "protected",
        [
            ("samples", f"{result.samples:,} in {result.shards:,} shards, {show.size(result.bytes)}"),
            ("rejected", f"{result.rejected:,}" + (f", see {result.ledger}/rejects.jsonl" if result.rejected else "")),
            *([("duplicates", f"{result.duplicates:,}")] if result.duplicates else []),
            ("largest noise", f"{result.linf_max}/255"),
            ("mean PSNR", f"{result.psnr_mean:.2f} dB"),
            ("time", ", ".join(f"{phase} {show.duration(seconds)}" for phase, seconds in result.seconds.items())),
            ("shards, to publish", result.out),
            ("ledger, to keep private", result.ledger),
        ],
    )


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("protect")(errors_in_one_line(source_options(settings_of(ProtectConfig)(protect))))
