"""The tables of the paper as cells: rows and columns as settings of both sides, beside the paper's numbers.

Numbers, and the settings that each row and column stands for, are data: `paper.json`.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

from ..errors import SettingError
from ..settings import VerifyConfig, fingerprint
from .figures import TableCell

FIGURES = ("figure3", "figure5")
TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8")
PAPER_STEPS = 40_000  # of a victim, which the patience of Table 5 belongs to
ONLY_CLEAN: dict[str, Any] = {"method": "sc"}  # the cheapest noise, where nothing but clean images is asked for


@functools.cache
def document() -> dict[str, Any]:
    """All of `paper.json`."""
    return dict(json.loads(resources.files(__package__).joinpath("paper.json").read_text()))


def paper(table: str) -> dict[str, Any]:
    """What the paper says: title, blocks of rows, columns and values, notes. Raises `SettingError`."""
    if table not in (*TABLES, *FIGURES):
        known = ", ".join((*TABLES, *FIGURES))
        raise SettingError(f"{table!r} is nothing that can be reproduced; choose one of: {known}")
    return dict(document()["tables"][table])


def block_of(table: str, about: Mapping[str, Any], dataset: str | None) -> dict[str, Any]:
    """The part of a table that is about `dataset`, its first by default. Raises `SettingError`."""
    blocks = about.get("blocks") or [about]
    names = [block["dataset"] for block in blocks]
    if dataset not in (None, *names):
        raise SettingError(f"{table} of the paper has no {dataset}; it has {', '.join(names)}")
    return dict(blocks[names.index(dataset) if dataset else 0])


def cells_of(about: Mapping[str, Any], block: Mapping[str, Any], patterns: Sequence[str]) -> list[TableCell]:
    """The cells of a block that the patterns name, with the settings of both sides, as the paper has them in order."""
    base, found = about["base"], []
    for row, values in zip(block["rows"], block["values"], strict=True):
        for column, value in zip(block["columns"], values, strict=True):
            name = f"{row['name']}:{column['name']}"
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                victim = {**base["victim"], **row["victim"], **column["victim"]}
                made = _made(about, base["protect"], row["protect"], column["protect"], victim)
                found.append(TableCell(row["name"], column["name"], value, protect=made, victim=victim))
    if not found:
        names = [f"{row['name']}:{column['name']}" for row in block["rows"] for column in block["columns"]]
        raise SettingError(f"no cell is called {'; '.join(patterns)}; there are: {'; '.join(names)}")
    return found


def with_networks(cells: list[TableCell], block: Mapping[str, Any], config: VerifyConfig) -> list[TableCell]:
    """The cells with the network that is really trained: the preset's, unless the table is about networks."""
    if any("network" in line["victim"] for line in (*block["rows"], *block["columns"])):
        return cells
    return [replace(cell, victim={**cell.victim, "network": config.victim[0]}) for cell in cells]


def _made(about: Mapping[str, Any], base: Any, row: Any, column: Any, victim: Mapping[str, Any]) -> Any:
    """The settings of a cell's protection; None for clean images."""
    if row is None or column is None:
        return None
    made = {**base, **row, **column}
    if made.get("method") in about.get("protect_follows", ()):
        made.setdefault("rho_a", victim["rho_a"])
    return made


def in_requested_order(cells: Sequence[TableCell], patterns: Sequence[str]) -> list[TableCell]:
    """The cells in the order of the patterns that name them."""

    def place(cell: TableCell) -> int:
        name = f"{cell.row}:{cell.column}"
        return next(number for number, pattern in enumerate(patterns) if fnmatch.fnmatchcase(name, pattern))

    return sorted(cells, key=place)


def grouped(cells: Sequence[TableCell]) -> list[tuple[dict[str, Any], list[TableCell]]]:
    """Cells by their protection; those without go with the first, whose split is that of all."""
    groups: dict[str, tuple[dict[str, Any], list[TableCell]]] = {}
    for cell in cells:
        if cell.protect is not None:
            groups.setdefault(fingerprint(cell.protect), (cell.protect, []))[1].append(cell)
    together = list(groups.values()) or [(ONLY_CLEAN, [])]
    together[0][1].extend(cell for cell in cells if cell.protect is None)
    return together


def with_patience(config: VerifyConfig, cells: Sequence[TableCell]) -> VerifyConfig:
    """The recipe with the patience that the cells ask for, scaled with the length of the training."""
    asked = {cell.victim["patience"] for cell in cells if "patience" in cell.victim}
    shares = {cell.victim["clean_ratio"] for cell in cells if "clean_ratio" in cell.victim}
    if not asked:
        return config
    patience = tuple(dict.fromkeys(to_scale(steps, config) for steps in sorted(asked)))
    return replace(config, patience=patience, clean_share=tuple(sorted(shares)))


def to_scale(patience: int, config: VerifyConfig) -> int:
    """The patience of a training as long as the config's."""
    return max(1, round(patience * config.steps / PAPER_STEPS))
