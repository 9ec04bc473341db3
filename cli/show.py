"""Results on standard output: rich tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from semshard.plugins import Kind
from semshard.progress import duration as duration

console = Console(highlight=False, markup=False, emoji=False)  # paths and names may hold brackets and colons


def as_json(value: Any) -> None:
    """The one JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def facts(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """A two-column table: what, and how much."""
    table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table with a head; the first column is text, the others are figures."""
    drawn = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1))
    for number, name in enumerate(head):
        drawn.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def listing(title: str, head: Iterable[str], rows: Iterable[Iterable[str]], caption: str) -> None:
    """A table of what there is to choose from: columns of text, the names in the first, with a caption below."""
    drawn = Table(title=title, title_justify="left", title_style="bold", caption=caption)
    for number, name in enumerate(head):
        drawn.add_column(name, overflow="fold", no_wrap=number == 0)
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def problems_of(kind: Kind) -> None:
    """Why plugins cannot be used, a line each on standard error."""
    from semshard.catalogue import plugin_problems

    for problem in plugin_problems(kind):
        print(f"semshard: {problem}", file=sys.stderr)


def size(count: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
