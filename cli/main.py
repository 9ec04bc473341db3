"""The program `semshard`: its commands, each in a file of its own, and what goes for all of them."""

from __future__ import annotations

import sys

import typer

from .audit import audit
from .bench import bench
from .card import card
from .countermeasures import countermeasures
from .demo import demo
from .exits import end_on_sigterm
from .export import export
from .keygen import keygen
from .methods import methods
from .panels import PanelCommand, PanelGroup
from .plan import plan
from .preview import preview
from .protect import protect
from .remove import remove
from .repair import repair
from .reproduce import reproduce
from .robustness import robustness
from .sign import sign
from .sources import sources
from .status import status
from .sweep import sweep
from .train import train
from .verify import verify
from .views import views

app = typer.Typer(
    name="semshard",
    cls=PanelGroup,
    help="Protect an image collection before it is published: shards that look the same, made to teach a model little.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_PANELS = {
    "Commands": (protect, verify, audit, preview, train, demo),
    "A finished folder": (card, sign, keygen, export, status, repair, remove),
    "What there is to choose from": (sources, methods, views, countermeasures),
    "Studies and measurements": (plan, sweep, robustness, reproduce, bench),
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
    for stream in (sys.stdout, sys.stderr):  # an old code page has no δ: a question mark is better than an error
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    end_on_sigterm()
    app(prog_name="semshard")
