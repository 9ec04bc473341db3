"""The story of reproduce: a table of the paper → protections and victims for its cells → our numbers beside its own.

It can be told in pieces: a call that is given a time stops before it is over, and the next one goes on, on this machine
or, with the files of a small folder, on another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..engine.deadline import Deadline
from ..errors import SettingError
from ..progress import Progress, silent
from .bundle import pack, unpack
from .figures import STUDIES, Study, TableCell
from .journal import rates
from .run import TableRun
from .tables import FIGURES, block_of, document, paper


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
    protections: dict[str, dict[str, Any]] = field(default_factory=dict)  # settings
    parts: list[dict[str, Any]] = field(default_factory=list)  # of the work: seconds, operations, bytes, machine
    machines: dict[str, dict[str, Any]] = field(default_factory=dict)  # by name: hardware, versions, date, rates
    digests: dict[str, str] = field(default_factory=dict)  # SHA-256 of sources, surrogates, and manifests of images

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
        return "\n".join([*lines, "", legend, *self._work()]) + "\n"

    def _work(self) -> Iterator[str]:
        if self.parts:
            yield from ("", "| part | seconds | PFLOP | TFLOP/s | of a matrix product |", "|---" * 5 + "|")
        for part in self.parts:
            rate = f"{part['flop_per_second'] / 1e12:.3g} | {part['share']:.0%}" if part["flop"] else "|"
            yield f"| {part['part']} | {part['seconds']:,.1f} | {part['flop'] / 1e15:.3g} | {rate} |"


@dataclass(frozen=True)
class PlannedPart:
    """A part of a reproduction before it is done."""

    part: str
    flop: float
    bytes: float
    seconds: float  # below which a machine with the given rates cannot do it

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
    test: str | Path | None = None,
    minutes: float | None = None,
    state: str | Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> ReproduceResult:
    """Protect and examine the images at `source` for the cells of a table of the paper, and set our numbers beside its.

    `scale` is the preset of both sides; with "quick" the small network stands for ResNet-18, but where a table is about
    networks, and patience is scaled with the length of the training. `cells` are patterns of ROW:COLUMN, like
    "SEM:4/255" or "REM*:*", made in that order; figures have none. `dataset` chooses among a table's blocks. Every
    seed is that of a protection and of its victims. `settings` are fields of `VerifyConfig` for all victims alike,
    `protection` fields of `ProtectConfig` for all protections. Victims are tested on the images at `test`, a source
    like the other, and trained on all of `source`; without it a part of `source` is held out.

    Shards and victims are kept in `out`, so that the same call goes on where it stopped. After about `minutes` it stops
    by itself and raises `TimeIsUp`. What another machine needs to go on is then in the folder `state`, in a few files;
    a call with an empty `out` begins with what is there. With scale "paper" the
    trainings are cut (`cut_every`), and the table is the same, bit for bit on machines of one kind, in one piece or
    in many.

    Raises as `protect` and `verify`, and `SettingError` for a table, dataset or cell that the paper does not have.
    """
    about = paper(table)
    block = block_of(table, about, dataset)
    if minutes is not None and minutes <= 0:
        raise SettingError(f"minutes = {minutes} must be above 0")
    if table in FIGURES and (seeds != 1 or list(cells) != ["*"] or test or minutes or state):
        raise SettingError(f"{table} has one seed and no cells to choose from, and is made in one piece")
    out = Path(out)
    if state and not (out.exists() and any(out.iterdir())):
        unpack(Path(state), out)
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    study = Study(source, out, scale, device, progress, settings, protection or {})
    if table in FIGURES:
        found, samples, victim = STUDIES[table](study, about)
        result = ReproduceResult(
            table, about["title"], block["dataset"], scale, seeds, found, samples, victim, about["notes"], str(out)
        )
        _write(result, about)
        return result
    filling = TableRun(study, about, block, cells, seeds, test, Deadline(60 * minutes) if minutes else Deadline())
    try:
        filling.run()
    finally:
        result = _result(filling, table, scale, about, block["dataset"])
        _write(result, about)
        if state:
            pack(out, filling.carried(), Path(state))
    return result


def plan_reproduction(
    table: str,
    source: str | Path,
    *,
    scale: str = "quick",
    dataset: str | None = None,
    cells: Sequence[str] = ("*",),
    seeds: int = 1,
    protection: Mapping[str, Any] | None = None,
    test: str | Path | None = None,
    given: tuple[float, float] | None = None,
    device: str = "auto",
    **settings: Any,
) -> list[PlannedPart]:
    """The parts of `reproduce` in their order, with operations, bytes, and the seconds below which they cannot be done
    at the rates (FLOP a second, bytes a second) given, or measured on this device.
    """
    about = paper(table)
    block = block_of(table, about, dataset)
    study = Study(source, Path(), scale, device, silent, settings, protection or {})
    filling = TableRun(study, about, block, cells, seeds, test, Deadline())
    at = given or rates(filling.runtime)
    return [PlannedPart(part.label, part.work.flop, part.work.bytes, part.work.seconds(*at)) for part in filling.plan()]


def _result(filling: TableRun, table: str, scale: str, about: Mapping[str, Any], dataset: str) -> ReproduceResult:
    """What is known by now."""
    samples, victim = filling.examined()
    return ReproduceResult(
        table, about["title"], dataset, scale, len(filling.seeds), filling.cells(), samples, victim, about["notes"],
        str(filling.study.out), filling.protections(), filling.parts(), filling.machines(), filling.digests(),
    )  # fmt: skip


def _shown(cell: TableCell | None) -> str:
    if cell is None or cell.ours is None:
        return ""
    spread = f" ± {cell.spread:.1f}" if cell.spread is not None else ""
    return f"{cell.ours:.1f}{spread} ({'none' if cell.paper is None else f'{cell.paper:.1f}'})"


def _write(result: ReproduceResult, about: Mapping[str, Any]) -> None:
    out = Path(result.out)
    data = {name: value for name, value in result.to_json().items() if name != "out"}
    source = {"paper": document()["paper"], "source": about["source"], "unit": about.get("unit", "as named")}
    write_json(out / f"{result.table}.json", {"schema_version": 1, "tool": f"semshard {__version__}", **source, **data})
    with atomic_write(out / f"{result.table}.md") as file:
        file.write(result.markdown().encode())
