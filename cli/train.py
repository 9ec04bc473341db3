"""semshard train SOURCE --out FILE"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from semshard.settings import ProtectConfig

from .command import Device, Json, Preset, errors_in_one_line, settings_of, share, source_options
from .protect import CheckpointSeconds, MaxRejects, Source


def train(
    source: Source,
    out: Annotated[Path, typer.Option(help="File for the surrogate's weights (safetensors). Keep it private.")],
    settings: dict[str, Any],
    options: Any,
    *,
    preset: Preset = "auto",
    max_rejects: MaxRejects = "1%",
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    json: Json = False,
) -> None:
    """Train a surrogate only, for later use with protect --surrogate."""
    import semshard

    from . import show
    from .watch import Watch

    with Watch() as watch:
        written = semshard.train(
            source,
            out,
            preset=preset,
            device=device,
            max_rejects=share(max_rejects),
            checkpoint_seconds=checkpoint_seconds,
            options=options,
            progress=watch,
            **settings,
        )
    if json:
        show.as_json({"surrogate": str(written)})
    else:
        show.facts("trained", [("surrogate, to keep private", str(written))])


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("train")(errors_in_one_line(source_options(settings_of(ProtectConfig)(train))))
