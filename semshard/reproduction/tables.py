"""The tables of the paper as cells: rows and columns as settings of both sides, with the paper's numbers.

Numbers, and the settings that each row and column stands for, are data: `paper.json`.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

from ..errors import SettingError
from ..settings import VerifyConfig, fingerprint

FIGURES = ("figure3", "figure5")
TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8")
PAPER_STEPS = 40_000  # of a victim, which the patience of Table 5 belongs to
ONLY_CLEAN: dict[str, Any] = {"method": "sc"}  # the cheapest noise, where only clean images are needed


@dataclass(frozen=True)
class TableCell:
    """A number of the paper and ours, test accuracies in % unless the row says otherwise; None where there is none."""

    row: str
    column: str
    paper: float | None
    ours: float | None = None  # after the last step, or what early stopping kept; mean over the seeds
    best: float | None = None  # the highest during the training, mean over the seeds
    spread: float | None = None  # half the distance between the lowest and the highest seed
    under_pgd: float | None = None  # of adversarially trained victims, at their own radius; mean over the seeds
    collapsed: bool = False  # whether their adversarial training has failed
    protect: dict[str, Any] | None = field(default=None, compare=False)  # None: clean images
    victim: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def name(self) -> str:
        """What the caller's patterns are compared with."""
        return f"{self.row}:{self.column}"


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of the paper, and its block about one dataset."""

    name: str
    content: Mapping[str, Any]  # its entry in paper.json: title, base settings, notes …
    block: Mapping[str, Any]  # dataset, and of a table: rows, columns, values

    @property
    def dataset(self) -> str:
        """The name of the dataset of the block."""
        return str(self.block["dataset"])

    def all_cells(self) -> Iterator[TableCell]:
        """Every cell of the block with the settings of both sides, row by row."""
        base = self.content["base"]
        for row, values in zip(self.block["rows"], self.block["values"], strict=True):
            for column, value in zip(self.block["columns"], values, strict=True):
                victim = {**base["victim"], **row["victim"], **column["victim"]}
                protect = self._protection(row["protect"], column["protect"], victim)
                yield TableCell(row["name"], column["name"], value, protect=protect, victim=victim)

    def cells(self, patterns: Sequence[str]) -> list[TableCell]:
        """The cells that the patterns name, in the paper's order. Raises `SettingError` where there is none."""
        every = list(self.all_cells())
        chosen = [cell for cell in every if any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)]
        if not chosen:
            names = "; ".join(cell.name for cell in every)
            raise SettingError(f"no cell has the name {'; '.join(patterns)}; there are: {names}")
        return chosen

    def with_networks(self, cells: Sequence[TableCell], config: VerifyConfig) -> list[TableCell]:
        """The cells with the network that is really trained: the preset's, unless the table compares networks."""
        if any("network" in line["victim"] for line in (*self.block["rows"], *self.block["columns"])):
            return list(cells)
        return [replace(cell, victim={**cell.victim, "network": config.victim[0]}) for cell in cells]

    def _protection(self, row: Any, column: Any, victim: Mapping[str, Any]) -> dict[str, Any] | None:
        """The settings of a cell's protection; None for clean images."""
        if row is None or column is None:
            return None
        settings = {**self.content["base"]["protect"], **row, **column}
        if settings.get("method") in self.content.get("protect_follows", ()):
            settings.setdefault("rho_a", victim["rho_a"])
        return settings


@functools.cache
def document() -> dict[str, Any]:
    """All of `paper.json`."""
    return dict(json.loads(resources.files(__package__).joinpath("paper.json").read_text("utf-8")))


def paper_blocks(name: str) -> list[PaperTable]:
    """A table or figure of the paper, once for each of its blocks. Raises `SettingError` for an unknown name."""
    if name not in (*TABLES, *FIGURES):
        raise SettingError(f"{name!r} cannot be reproduced; choose one of: {', '.join((*TABLES, *FIGURES))}")
    content = document()["tables"][name]
    return [PaperTable(name, content, block) for block in content.get("blocks") or [content]]


def paper_table(name: str, dataset: str | None = None) -> PaperTable:
    """The block of a table about `dataset`, its first by default. Raises `SettingError` where there is none."""
    blocks = paper_blocks(name)
    chosen = [block for block in blocks if dataset in (None, block.dataset)]
    if not chosen:
        raise SettingError(f"{name} of the paper has no {dataset}; it has {', '.join(b.dataset for b in blocks)}")
    return chosen[0]


def in_requested_order(cells: Sequence[TableCell], patterns: Sequence[str]) -> list[TableCell]:
    """The cells in the order of the patterns that name them."""

    def place(cell: TableCell) -> int:
        return next(number for number, pattern in enumerate(patterns) if fnmatch.fnmatchcase(cell.name, pattern))

    return sorted(cells, key=place)


def grouped(cells: Sequence[TableCell]) -> list[tuple[dict[str, Any], list[TableCell]]]:
    """Cells by their protection; those without one join the first, whose held-out images are those of all."""
    groups: dict[str, tuple[dict[str, Any], list[TableCell]]] = {}
    for cell in cells:
        if cell.protect is not None:
            groups.setdefault(fingerprint(cell.protect), (cell.protect, []))[1].append(cell)
    together = list(groups.values()) or [(ONLY_CLEAN, [])]
    together[0][1].extend(cell for cell in cells if cell.protect is None)
    return together


def with_settings_of(cells: Sequence[TableCell], config: VerifyConfig) -> VerifyConfig:
    """The recipe with what the cells' filters are applied to, and the patience that they need, scaled with the length
    of the training.
    """
    for filter_on in {cell.victim["filter_on"] for cell in cells if "filter_on" in cell.victim}:
        config = replace(config, filter_on=filter_on)
    steps = {cell.victim["patience"] for cell in cells if "patience" in cell.victim}
    shares = {cell.victim["clean_ratio"] for cell in cells if "clean_ratio" in cell.victim}
    if not steps:
        return config
    patience = tuple(dict.fromkeys(scaled_patience(value, config) for value in sorted(steps)))
    return replace(config, patience=patience, clean_share=tuple(sorted(shares)))


def scaled_patience(patience: int, config: VerifyConfig) -> int:
    """The patience of a training as long as the config's."""
    return max(1, round(patience * config.steps / PAPER_STEPS))
