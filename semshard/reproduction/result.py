"""A table of the paper with our numbers, as far as they are known, as JSON and as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..settings import effective, to_json
from ..verification.verdict import COLLAPSE, REMEDY, has_collapsed, mean_over_seeds
from .figures import FigureResult
from .journal import Journal
from .plan import TablePlan
from .request import TableRequest
from .tables import PaperTable, TableCell, document


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
    out: str  # the folder of the shards, the figures of victims, TABLE.md and TABLE.json
    protections: dict[str, dict[str, Any]] = field(default_factory=dict)  # settings
    parts: list[dict[str, Any]] = field(default_factory=list)  # of the work: seconds, operations, bytes, machine
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name: hardware, versions, date, rates
    digests: dict[str, str] = field(default_factory=dict)  # SHA-256 of sources, surrogates, and manifests of images

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def markdown(self) -> str:
        """Rows and columns as in the paper; a cell is ours, then the paper's in brackets."""
        lines = _grid(self.title, self.cells, _shown)
        networks = ", ".join(dict.fromkeys(cell.victim["network"] for cell in self.cells if cell.victim))
        legend = (
            f"Ours, and in brackets the paper's. Scale {self.scale}: victims {networks or self.victim['victim'][0]}, "
            f"{self.victim['steps']:,} steps, trained on {self.samples['train']:,} images, tested on "
            f"{self.samples['test']:,}; seeds: {self.seeds}."
        )
        return "\n".join([*lines, "", legend, *self._under_pgd(), *self._work()]) + "\n"

    def _under_pgd(self) -> Iterator[str]:
        """The lines of a table with what adversarially trained victims reach under attack."""
        attacked = [cell for cell in self.cells if cell.under_pgd is not None]
        if attacked:
            yield from ("", *_grid("Ours under PGD-10, at the victim's own radius", attacked, _shown_under_pgd))
        if failed := [f"{cell.row}, {cell.column}" for cell in attacked if cell.collapsed]:
            yield from ("", f"{'; '.join(failed)}: {COLLAPSE[0].lower()}{COLLAPSE[1:]}. {REMEDY}")

    def _work(self) -> Iterator[str]:
        """The lines of a table with the parts of the work."""
        if self.parts:
            yield from ("", "| part | seconds | PFLOP | TFLOP/s | of a matrix product |", "|---" * 5 + "|")
        for part in self.parts:
            rate = f"{part['flop_per_second'] / 1e12:.3g} | {part['share']:.0%}" if part["flop"] else "|"
            yield f"| {part['part']} | {part['seconds']:,.1f} | {part['flop'] / 1e15:.3g} | {rate} |"


def table_result(
    request: TableRequest, table: PaperTable, plan: TablePlan, journal: Journal, out: Path
) -> ReproduceResult:
    """A table with the numbers that the journal has so far."""
    samples, victim = _victims(plan, journal)
    labels, basis = plan.labels(), plan.basis
    parts = journal.parts(labels)
    used = {part["machine"] for part in parts}
    outputs = {label: journal.digests[key] for key, label in labels.items() if key in journal.digests}
    return ReproduceResult(
        table.name, table.content["title"], table.dataset, request.scale, request.seeds, _cells(plan, journal),
        samples, victim, table.content["notes"], str(out),
        protections={each.label: effective(each.config) for each in plan.protections},
        parts=parts,
        machines={name: machine for name, machine in journal.machines.items() if name in used},
        digests={**basis.facts.digests, **outputs},
    )  # fmt: skip


def figure_result(request: TableRequest, figure: PaperTable, ours: FigureResult, out: Path) -> ReproduceResult:
    """A figure of the paper, claim by claim, beside ours."""
    return ReproduceResult(
        figure.name, figure.content["title"], figure.dataset, request.scale, request.seeds, ours.cells, ours.samples,
        ours.victim, figure.content["notes"], str(out),
    )  # fmt: skip


def write_result(result: ReproduceResult, table: PaperTable) -> None:
    """Write TABLE.json and TABLE.md."""
    out, content = Path(result.out), table.content
    data = {name: value for name, value in result.to_json().items() if name != "out"}
    source = {"paper": document()["paper"], "source": content["source"], "unit": content.get("unit", "as named")}
    write_json(out / f"{result.table}.json", {"schema_version": 1, "tool": f"semshard {__version__}", **source, **data})
    with atomic_write(out / f"{result.table}.md") as file:
        file.write(result.markdown().encode())


def _cells(plan: TablePlan, journal: Journal) -> list[TableCell]:
    """The requested cells in the paper's order, with our numbers where all seeds have figures."""
    by_name: dict[str, list[Mapping[str, Any]]] = {cell.name: [] for cell in plan.cells}
    for victim in plan.victims():
        figures = journal.cell(victim.key)
        if figures:
            by_name[victim.cell.name].append(figures)
    complete = {name for name, figures in by_name.items() if len(figures) == plan.basis.seeds}
    chance = 1 / plan.basis.facts.classes
    return [_with_ours(cell, by_name[cell.name], chance) if cell.name in complete else cell for cell in plan.cells]


def _with_ours(cell: TableCell, figures: Sequence[Mapping[str, Any]], chance: float) -> TableCell:
    """A cell with the mean and the spread over the seeds, in %."""
    final, best = ([100 * each[name] for each in figures] for name in ("final", "best"))
    spread = round((max(final) - min(final)) / 2, 2) if len(final) > 1 else None
    names = "under_pgd", "train_under_own", "train_under_pgd"
    under_pgd, own, pgd = (mean_over_seeds(each.get(name) for each in figures) for name in names)
    return replace(
        cell, ours=round(statistics.fmean(final), 2), best=round(statistics.fmean(best), 2), spread=spread,
        under_pgd=None if under_pgd is None else round(100 * under_pgd, 2),
        collapsed=own is not None and pgd is not None and has_collapsed(own, pgd, chance),
    )  # fmt: skip


def _victims(plan: TablePlan, journal: Journal) -> tuple[dict[str, int], dict[str, Any]]:
    """How many samples victims were trained and tested on, and their settings: those of the first cell with figures."""
    place = {cell.name: number for number, cell in enumerate(plan.cells)}
    for victim in sorted(plan.victims(), key=lambda victim: place[victim.cell.name]):
        figures = journal.cell(victim.key)
        if figures:
            return figures["samples"], figures["victim"]
    return {"train": 0, "test": 0}, to_json(plan.basis.recipe())


def _grid(title: str, cells: Sequence[TableCell], shown: Callable[[TableCell | None], str]) -> list[str]:
    """The lines of a Markdown table of cells, rows and columns in their order."""
    rows, columns = (list(dict.fromkeys(getattr(cell, of) for cell in cells)) for of in ("row", "column"))
    by_name = {(cell.row, cell.column): cell for cell in cells}
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        lines.append(f"| {row} | {' | '.join(shown(by_name.get((row, column))) for column in columns)} |")
    return lines


def _shown_under_pgd(cell: TableCell | None) -> str:
    if cell is None or cell.under_pgd is None:
        return ""
    return f"{cell.under_pgd:.1f}" + (" (collapsed)" if cell.collapsed else "")


def _shown(cell: TableCell | None) -> str:
    if cell is None or cell.ours is None:
        return ""
    spread = f" ± {cell.spread:.1f}" if cell.spread is not None else ""
    return f"{cell.ours:.1f}{spread} ({'none' if cell.paper is None else f'{cell.paper:.1f}'})"
