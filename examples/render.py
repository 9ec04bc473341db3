"""Fill the generated parts of README.md and docs/: the options, lists of files, tables of results.

python examples/render.py            # write them into the pages
python examples/render.py --check    # change nothing; exit with 1 if a page is out of date

A page marks a generated part by one of these lines, and its end by `<!-- end -->`:

- `<!-- options -->`: what `python -m semshard_cli.reference` prints;
- `<!-- files: FOLDER -->`: the modules of a folder, each with the beginning of its documentation;
- `<!-- results: NAME TABLE -->`: a table of examples/results/NAME.json.

A result has

- `about`, `command`, `commit`, `hardware`, `software`, `seeds`, `date`: text, null where it is not known;
- `figures`: tables by name. A table has `columns`, each with a title, a format for its numbers (`form`) and what stands
  for a missing one (`empty`), and `rows`; or it takes the rows of another (`from`) whose first cells are in `keep`.

A cell is text, a number, a list of numbers that the format takes together, or a list of such lists, one for each seed.
The figures of strength.json are rows that `strength.py` wrote; it also lays out their tables, one for each collection.
"""

import ast
import json
import re
import sys
from pathlib import Path

from semshard_cli.reference import reference
from strength import table as strength_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "examples" / "results"
BLOCK = re.compile(r"(<!-- (options|files|results)(?:: (.+?))? -->\n).*?(<!-- end -->)", re.DOTALL)

Cell = str | float | list | None


def main(*arguments: str) -> int:
    stale = []
    for page in pages():
        text = page.read_text()
        if (fresh := filled(text)) != text:
            stale.append(page)
            if "--check" not in arguments:
                page.write_text(fresh)
    for page in stale:
        print(page.relative_to(ROOT), "was out of date" if "--check" not in arguments else "is out of date: make docs")
    return 1 if stale and "--check" in arguments else 0


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """The text of a page with its generated parts made anew."""

    def fresh(block: re.Match) -> str:
        match block[2]:
            case "options":
                part = reference().rstrip()
            case "files":
                part = files(block[3])
            case _:
                part = rendered(*block[3].split())
        return f"{block[1]}\n{part}\n\n{block[4]}"

    return BLOCK.sub(fresh, text)


def files(folder: str) -> str:
    """A table of the modules of a folder, each with the first sentence of its documentation."""
    lines = ["| file | what it does |", "|---|---|"]
    for path in sorted((ROOT / folder).glob("*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text()))
        if documentation and path.name != "__main__.py":
            first = " ".join(documentation.split("\n\n")[0].split()).replace("|", "\\|")
            lines.append(f"| [{path.name}](../{folder}/{path.name}) | {first} |")
    return "\n".join(lines)


def rendered(name: str, which: str) -> str:
    """A table of a result, and a line that says where its figures come from."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    lines = strength(result, which) if name == "strength" else table(result["figures"], which)
    return "\n".join([*lines, "", f"*{origin(result)}*"])


def table(figures: dict[str, dict], which: str) -> list[str]:
    """The lines of a Markdown table."""
    chosen = figures[which]
    whole = figures[chosen.get("from", which)]
    keep = chosen.get("keep", whole["rows"])
    rows = [row for first in keep for row in whole["rows"] if row[: len(first)] == first]
    lines = [[column["title"] for column in whole["columns"]], ["---"] * len(whole["columns"])]
    for row in rows:
        lines.append([cell(value, column) for value, column in zip(row, whole["columns"], strict=True)])
    return [f"| {' | '.join(line)} |" for line in lines]


def cell(value: Cell, column: dict[str, str]) -> str:
    if value is None:
        return column.get("empty", "")
    if isinstance(value, str):
        return value
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], list):
        return "; ".join(cell(each, column) for each in values)
    form = column["form"]
    return (form if len(values) > 1 else form.split(" ± ")[0]).format(*values)  # no spread of one value


def strength(result: dict, which: str) -> list[str]:
    rows = [row for row in result["figures"] if row["pictures"] == which]
    return strength_table(rows).rstrip().split("\n")


def origin(result: dict) -> str:
    """Where figures come from, as far as it is known."""
    command = f"`{result['command']}`" if result["command"] else None
    return "; ".join(filter(None, (command, *(result[name] for name in ("hardware", "software", "seeds", "date")))))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
