"""semshard card SHARDS"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .command import errors_in_one_line
from .options import Json, Licence, ShardsFolder, Title

if TYPE_CHECKING:
    from semshard import CardResult


@errors_in_one_line
def card(
    shards: ShardsFolder,
    *,
    report: Annotated[
        Optional[Path],
        typer.Option(help="A folder that verify wrote for these shards: publish its verdict, none of its pictures."),
    ] = None,
    title: Title = None,
    licence: Licence = None,
    creator: Annotated[Optional[str], typer.Option(metavar="NAME", help="Who made the collection.")] = None,
    url: Annotated[Optional[str], typer.Option(metavar="URL", help="Where the folder is published.")] = None,
    date: Annotated[Optional[str], typer.Option(metavar="YYYY-MM-DD", help="When it is published.")] = None,
    json: Json = False,
) -> None:
    """Write the data card of finished shards.

    What is not given stays as it was stated before; an empty text takes it back. Where rights are reserved, it prints
    what the server that publishes the folder should add.
    """
    import semshard

    from . import show

    result = semshard.card(shards, report=report, title=title, licence=licence, creator=creator, url=url, date=date)
    if json:
        show.as_json(result.to_json())
    else:
        _show(result)


def _show(result: CardResult) -> None:
    from . import show

    show.facts(
        "data card",
        [
            ("files", ", ".join(result.files)),
            ("title", result.title or "none stated: --title"),
            ("licence", result.licence or "none stated: --licence"),
            ("verdict", result.verdict or "none added: --report"),
            ("reserved", result.reserve),
        ],
    )
    for place, text in result.hosting.items():
        show.console.print(f"\n{place}:\n", style="bold")
        show.console.print(text.rstrip("\n"), soft_wrap=True)
    if result.hosting:
        show.console.print()
    for remark in result.remarks:
        show.console.print(remark, soft_wrap=True)
