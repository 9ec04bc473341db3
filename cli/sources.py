"""semshard sources"""

from __future__ import annotations

from .command import errors_in_one_line
from .options import Json


@errors_in_one_line
def sources(*, json: Json = False) -> None:
    """List the kinds of sources, and how to write each."""
    from rich.table import Table
    from rich.text import Text

    import semshard

    from . import show

    kinds = semshard.source_kinds()
    if json:
        show.as_json([{"name": kind.name, "form": kind.form, "line": kind.line} for kind in kinds])
        return
    table = Table(title="sources", title_justify="left", title_style="bold")
    table.add_column("SOURCE", overflow="fold", ratio=2)
    table.add_column("what it is", overflow="fold", ratio=3)
    for kind in kinds:
        table.add_row(Text(kind.form), Text(kind.line))
    table.caption = Text("places may be remote: s3://…, gs://…, https://… (pip install 'semshard[remote]')")
    show.console.print(table)
