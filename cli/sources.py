"""semshard sources"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from .command import errors_in_one_line
from .options import Json

if TYPE_CHECKING:
    from semshard import SourceCheck

Check = Annotated[
    Optional[str],
    typer.Option(
        metavar="SOURCE",
        help="Say in seconds what of this source's original files is there and what is missing, like "
        "imagenet100:DIR; exit code 1 where something is.",
    ),
]


@errors_in_one_line
def sources(*, check: Check = None, json: Json = False) -> None:
    """List the kinds of sources, or check one."""
    from rich.table import Table

    import semshard

    from . import show

    if check:
        found = semshard.check_source(check)
        show.as_json(found.to_json()) if json else _show(found)
        if not found.ok:
            raise typer.Exit(1)
        return
    kinds = semshard.source_kinds()
    show.problems_of("sources")
    if json:
        show.as_json([{"name": kind.name, "form": kind.form, "line": kind.line} for kind in kinds])
        return
    table = Table(title="sources", title_justify="left", title_style="bold")
    table.add_column("SOURCE", overflow="fold", ratio=2)
    table.add_column("what it is", overflow="fold", ratio=3)
    for kind in kinds:
        table.add_row(kind.form, kind.line)
    table.caption = "places may be remote: s3://…, gs://…, https://… (pip install 'semshard[remote]')"
    show.console.print(table)


def _show(found: SourceCheck) -> None:
    from rich.table import Table

    from . import show

    table = Table(title=f"check of {found.spec}", title_justify="left", title_style="bold")
    for column in ("", "what", "found", "missing or wrong"):
        table.add_column(column, overflow="fold")
    for each in found.checks:
        table.add_row("ok" if each.ok else "NO", each.what, each.found, "\n".join(each.missing))
    show.console.print(table)
    wrong = sum(not each.ok for each in found.checks)
    show.console.print("nothing is missing" if found.ok else f"{wrong} of {len(found.checks)} checks failed")
