"""The program `semshard`: its commands, each in a file of its own."""

from __future__ import annotations

import typer

from . import (
    audit,
    bench,
    countermeasures,
    demo,
    methods,
    preview,
    protect,
    reproduce,
    robustness,
    sources,
    sweep,
    train,
    verify,
    views,
)

app = typer.Typer(
    name="semshard",
    help="Protect an image collection before it is published: shards that look the same and teach a model little.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    protect, verify, audit, preview, train, sources, methods, views, countermeasures, sweep, robustness, reproduce,
    bench, demo,
):  # fmt: skip
    module.register(app)


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
    app()
