"""semshard train SOURCE --out FILE"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from semshard.launch import launch
from semshard.settings import ProtectConfig

from .command import errors_in_one_line, settings_of, source_options
from .event_log import logged, record_result
from .options import CheckpointSeconds, Device, Json, MaxRejects, Preset, Source
from .values import share


@errors_in_one_line
@logged
@source_options
@settings_of(ProtectConfig)
def train(
    source: Source,
    *,
    out: Annotated[Path, typer.Option(help="File for the surrogate's weights (safetensors). Keep it private.")],
    preset: Preset = "auto",
    settings: dict[str, Any],
    options: Any,
    max_rejects: MaxRejects = "1%",
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    json: Json = False,
) -> None:
    """Train a surrogate only, for protect --surrogate.

    On several devices where torchrun starts it, once for each.
    """
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
    record_result(lambda: {"surrogate": str(written)})
    if not launch().is_first:
        return
    if json:
        show.as_json({"surrogate": str(written)})
    else:
        show.facts("trained", [("surrogate, to keep private", str(written))])
