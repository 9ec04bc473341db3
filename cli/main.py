"""The program `semshard`: its commands, each in a file of its own."""

from __future__ import annotations

import typer

from .audit import audit
from .bench import bench
from .countermeasures import countermeasures
from .demo import demo
from .export import export
from .methods import methods
from .panels import PanelCommand, PanelGroup
from .preview import preview
from .protect import protect
from .reproduce import reproduce
from .robustness import robustness
from .sources import sources
from .sweep import sweep
from .train import train
from .verify import verify
from .views import views

app = typer.Typer(
    name="semshard",
    cls=PanelGroup,
    help="Protect an image collection before it is published: shards that look the same, made to teach a model little.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_PANELS = {
    "Commands": (protect, verify, audit, preview, train, demo),
    "A finished folder": (export,),
    "What there is to choose from": (sources, methods, views, countermeasures),
    "Studies and measurements": (sweep, robustness, reproduce, bench),
}
for _title, _commands in _PANELS.items():
    for _command in _commands:
        app.command(cls=PanelCommand, rich_help_panel=_title)(_command)


def _version(wanted: bool) -> None:
    if wanted:
        from semshard._version import __version__

        typer.echo(f"semshard {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point of the installed program."""
    app(prog_name="semshard")
