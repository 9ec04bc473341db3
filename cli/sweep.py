"""semshard sweep SOURCE --out DIR --sweep steps=100,200,400"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.settings import ProtectConfig, VerifyConfig, parse

from .command import Device, Json, Preset, errors_in_one_line, pair, settings_of, share, source_options
from .protect import CheckpointSeconds, MaxRejects, Source


def sweep(
    source: Source,
    out: Annotated[Path, typer.Option(help="Folder for the shards of each value, table and plot. Keep it private.")],
    sweep: Annotated[
        str, typer.Option(metavar="NAME=V,V,…", help="A setting and its values: steps=100,200 or method=sem,rem,em.")
    ],
    settings: dict[str, Any],
    options: Any,
    *,
    victim: Annotated[
        Optional[list[str]],
        typer.Option(metavar="NAME=V", help="A setting of the victims, as verify has it: rho_a=0,2/255. Repeat it."),
    ] = None,
    preset: Preset = "auto",
    max_rejects: MaxRejects = "1%",
    device: Device = "auto",
    checkpoint_seconds: CheckpointSeconds = 20,
    json: Json = False,
) -> None:
    """Protect once for each value of a setting, train victims on each, and draw their accuracy against it."""
    import semshard

    from . import show
    from .watch import Watch

    name, texts = pair(sweep)
    values = [parse(ProtectConfig, name, text) for text in texts.split(",")]
    recipe = {key: parse(VerifyConfig, key, text) for key, text in map(pair, victim or [])}
    with Watch() as watch:
        found = semshard.sweep(
            source,
            out,
            name,
            values,
            preset=preset,
            victim=recipe,
            max_rejects=share(max_rejects),
            device=device,
            checkpoint_seconds=checkpoint_seconds,
            options=options,
            progress=watch,
            **settings,
        )
    if json:
        show.as_json(found.to_json())
        return
    radii = list(dict.fromkeys(cell.rho_a for cell in found.cells))
    shares = {(str(cell.value), cell.rho_a): cell for cell in found.cells}
    show.table(
        f"test accuracy on clean images, final (best), %; {name}",
        ("trained on", *(f"at {rho}" for rho in radii)),
        [
            (value if value != "None" else "clean images", *(_cell(shares[value, rho]) for rho in radii))
            for value in ("None", *map(str, found.values))
        ],
    )
    victims = f"{found.victim['victim'][0]}, {found.victim['steps']} steps, tested on {found.samples['test']:,} images"
    show.facts(
        f"{len(found.values)} values; surrogates trained: {found.surrogates}",
        [
            ("victims", victims),
            ("chance", f"{found.chance:.1%}"),
            ("table, to keep private", f"{found.out}/sweep.json"),
            ("plot", f"{found.out}/sweep.png"),
        ],
    )


def _cell(cell: Any) -> str:
    return f"{100 * cell.final:.1f} ({100 * cell.best:.1f})"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("sweep")(errors_in_one_line(source_options(settings_of(ProtectConfig)(sweep))))
