"""The story of reproduce: a table of the paper → protections and victims for its cells → our numbers beside its own.

The paper's numbers, and the settings that each row and column stands for, are data: `paper.json`.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from ._examine import Examiner, Kept
from ._grid import victim_figures
from ._protect import protect
from ._split import Split, load_split, the_originals
from ._studies import STUDIES, Study, TableCell
from ._version import __version__
from .atomic import atomic_write, write_json
from .config import VerifyConfig
from .engine import Runtime, make_runtime
from .errors import SettingError
from .forms import fingerprint, to_json
from .presets import verify_config
from .progress import Progress, remarks, silent, under
from .radii import parse_radius
from .shards import open_shards
from .victims import Attacker

FIGURES = ("figure3", "figure5")
TABLES = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "table8")
PAPER_STEPS = 40_000  # of a victim, which the patience of Table 5 belongs to
_ONLY_CLEAN = {"method": "sc"}  # the cheapest noise, where nothing but clean images is asked for


@dataclass(frozen=True)
class ReproduceResult:
    """A table of the paper, cell by cell, beside ours."""

    table: str
    title: str
    dataset: str
    scale: str
    seeds: int
    cells: list[TableCell]
    samples: dict[str, int]  # train, test
    victim: dict[str, Any]  # settings
    notes: list[str]
    out: str  # the folder of the shards, the kept victims, TABLE.md and TABLE.json

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def markdown(self) -> str:
        """Rows and columns as in the paper; a cell is ours, then the paper's in brackets."""
        rows, columns = (list(dict.fromkeys(getattr(cell, of) for cell in self.cells)) for of in ("row", "column"))
        by_name = {(cell.row, cell.column): cell for cell in self.cells}
        lines = [f"| {self.title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for row in rows:
            shown = (_shown(by_name.get((row, column))) for column in columns)
            lines.append(f"| {row} | {' | '.join(shown)} |")
        networks = ", ".join(dict.fromkeys(cell.victim["network"] for cell in self.cells if cell.victim))
        legend = (
            f"Ours, and in brackets the paper's. Scale {self.scale}: victims {networks or self.victim['victim'][0]}, "
            f"{self.victim['steps']:,} steps, trained on {self.samples['train']:,} images, tested on "
            f"{self.samples['test']:,}; seeds: {self.seeds}."
        )
        return "\n".join([*lines, "", legend]) + "\n"


def reproduce(
    table: str,
    source: str | Path,
    out: str | Path,
    *,
    scale: str = "quick",
    dataset: str | None = None,
    cells: Sequence[str] = ("*",),
    seeds: int = 1,
    protection: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> ReproduceResult:
    """Protect and examine the images at `source` for the cells of a table of the paper, and set our numbers beside its.

    `scale` is the preset of both sides; with "quick" the small network stands for ResNet-18, but where a table is about
    networks, and patience is scaled with the length of the training. `cells` are patterns of ROW:COLUMN, like
    "SEM:4/255" or "REM*:*"; figures have none. `dataset` chooses among a table's blocks. Every seed is that of a
    protection and of its victims. Shards and victims are kept in `out`, so that the same call goes on where it stopped.
    `settings` are fields of `VerifyConfig` for all victims alike, `protection` fields of `ProtectConfig` for all
    protections.

    Raises as `protect` and `verify`, and `SettingError` for a table, dataset or cell that the paper does not have.
    """
    about = paper(table)
    block = _block(table, about, dataset)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    study = Study(source, out, scale, device, progress, settings, protection or {})
    if table in FIGURES:
        if seeds != 1 or list(cells) != ["*"]:
            raise SettingError(f"{table} has one seed and no cells to choose from")
        found, samples, victim = STUDIES[table](study, about)
    else:
        wanted = _networks(_cells(about, block, cells), block, verify_config(scale, (32, 32), "float32", {}))
        found, samples, victim = _fill(study, wanted, seeds)
    result = ReproduceResult(
        table, about["title"], block["dataset"], scale, seeds, found, samples, victim, about["notes"], str(out)
    )
    _write(result, about)
    return result


def _fill(
    study: Study, wanted: Sequence[TableCell], seeds: int
) -> tuple[list[TableCell], dict[str, int], dict[str, Any]]:
    """The cells with our numbers; the split; the victims' settings."""
    runtime = make_runtime(study.device, str(study.settings.get("precision", "auto")), remarks(study.progress))
    found: dict[TableCell, list[tuple[float, float]]] = {}
    kept, samples, victim = Kept(study.out / "victims.json"), {"train": 0, "test": 0}, {}
    for seed, (made, group) in itertools.product(range(seeds), _grouped(wanted)):
        split, examiner = _examination(study, made, group, seed, runtime)
        samples = {"train": int(split.train.sum()), "test": int(split.test.sum())}
        victim = to_json(examiner.config)
        for cell in group:
            found.setdefault(cell, []).append(_examined(cell, split, examiner, kept, seed))
    return [_filled(cell, found[cell]) for cell in wanted], samples, victim


def _examination(
    study: Study, made: dict[str, Any], group: Sequence[TableCell], seed: int, runtime: Runtime
) -> tuple[Split, Examiner]:
    """The protected images of a group of cells, made where they are not there yet, and who examines them."""
    fixed = sorted({*made, "preset", "seed"} & {*study.protection})
    if fixed:
        raise SettingError(f"the table sets {', '.join(fixed)} itself")
    made = {**made, **study.protection}
    name = f"{made.get('method', 'cell')}-{fingerprint(made, study.scale, seed)[:8]}"
    told, folder = under(name, study.progress), study.out / "protected" / name
    protect(study.source, folder, preset=study.scale, device=study.device, progress=told, **made, seed=seed)
    shards = open_shards(folder)
    config = _config(verify_config(study.scale, shards.size, runtime.precision, study.settings), group)
    split = load_split(shards, the_originals(shards, None), config, told)
    return split, Examiner(runtime, config, len(shards.classes), study.progress)


@functools.cache
def _paper() -> dict[str, Any]:
    return dict(json.loads(resources.files(__package__).joinpath("paper.json").read_text()))


def paper(table: str) -> dict[str, Any]:
    """What the paper says: title, blocks of rows, columns and values, notes. Raises `SettingError`."""
    if table not in (*TABLES, *FIGURES):
        known = ", ".join((*TABLES, *FIGURES))
        raise SettingError(f"{table!r} is nothing that can be reproduced; choose one of: {known}")
    return dict(_paper()["tables"][table])


def _block(table: str, about: Mapping[str, Any], dataset: str | None) -> dict[str, Any]:
    blocks = about.get("blocks") or [about]
    names = [block["dataset"] for block in blocks]
    if dataset not in (None, *names):
        raise SettingError(f"{table} of the paper has no {dataset}; it has {', '.join(names)}")
    return dict(blocks[names.index(dataset) if dataset else 0])


def _cells(about: Mapping[str, Any], block: Mapping[str, Any], patterns: Sequence[str]) -> list[TableCell]:
    """The cells of a block that the patterns name, with the settings of both sides."""
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


def _networks(cells: list[TableCell], block: Mapping[str, Any], config: VerifyConfig) -> list[TableCell]:
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
        made["rho_a"] = victim["rho_a"]
    return made


def _grouped(cells: Sequence[TableCell]) -> list[tuple[dict[str, Any], list[TableCell]]]:
    """Cells by their protection; clean ones go with the first, whose split is that of all."""
    groups: dict[str, tuple[dict[str, Any], list[TableCell]]] = {}
    for cell in cells:
        if cell.protect is not None:
            groups.setdefault(fingerprint(cell.protect), (cell.protect, []))[1].append(cell)
    together = list(groups.values()) or [(_ONLY_CLEAN, [])]
    together[0][1].extend(cell for cell in cells if cell.protect is None)
    return together


def _config(config: VerifyConfig, cells: Sequence[TableCell]) -> VerifyConfig:
    """The recipe with the patience that the cells ask for, scaled with the length of the training."""
    asked = {cell.victim["patience"] for cell in cells if "patience" in cell.victim}
    shares = {cell.victim["clean_ratio"] for cell in cells if "clean_ratio" in cell.victim}
    if not asked:
        return config
    patience = tuple(dict.fromkeys(_scaled(steps, config) for steps in sorted(asked)))
    return replace(config, patience=patience, clean_share=tuple(sorted(shares)))


def _scaled(patience: int, config: VerifyConfig) -> int:
    return max(1, round(patience * config.steps / PAPER_STEPS))


def _examined(cell: TableCell, split: Split, examiner: Examiner, kept: Kept, seed: int) -> tuple[float, float]:
    """Final and best test accuracy of a cell's victim."""
    config, asked = examiner.config, cell.victim
    attacker = Attacker(asked["network"], parse_radius(asked["rho_a"]), asked["countermeasure"])
    material = split.material("clean" if cell.protect is None else "protected", attacker.countermeasure)
    phase = f"{cell.row}, {cell.column}: {attacker.name}"
    figures = victim_figures(examiner, kept, phase, material, attacker, seed)
    if "patience" not in asked:
        return figures["final"], figures["best"]
    rule = _scaled(asked["patience"], config), asked["clean_ratio"]
    kept_test = next(stop.test for stop in figures["stops"] if (stop.patience, stop.clean_share) == rule)
    return kept_test, figures["best"]


def _filled(cell: TableCell, found: Sequence[tuple[float, float]]) -> TableCell:
    final, best = ([100 * value for value in values] for values in zip(*found, strict=True))
    spread = (max(final) - min(final)) / 2 if len(final) > 1 else None
    return replace(
        cell,
        ours=round(statistics.fmean(final), 2),
        best=round(statistics.fmean(best), 2),
        spread=None if spread is None else round(spread, 2),
    )


def _shown(cell: TableCell | None) -> str:
    if cell is None or cell.ours is None:
        return ""
    spread = f" ± {cell.spread:.1f}" if cell.spread is not None else ""
    return f"{cell.ours:.1f}{spread} ({'none' if cell.paper is None else f'{cell.paper:.1f}'})"


def _write(result: ReproduceResult, about: Mapping[str, Any]) -> None:
    out = Path(result.out)
    data = {name: value for name, value in result.to_json().items() if name != "out"}
    source = {"paper": _paper()["paper"], "source": about["source"], "unit": about.get("unit", "as named")}
    write_json(out / f"{result.table}.json", {"schema_version": 1, "tool": f"semshard {__version__}", **source, **data})
    with atomic_write(out / f"{result.table}.md") as file:
        file.write(result.markdown().encode())
