"""The story of reproduce: a table of the paper → protections and victims for its cells → our numbers with its own.

It can be done in pieces: a call with a time limit stops before all is finished, and the next one continues, on this
machine or, with the files of a small folder, on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..engine.deadline import Deadline
from ..errors import SettingError
from ..progress import Progress, silent
from ..storage import local_path
from ..workers import WorkerOptions, one_cluster
from .bundle import pack, unpack
from .figures import make_figure
from .journal import Journal
from .journal import rates as measured_rates
from .plan import plan_table
from .request import TableRequest, open_images
from .result import ReproduceResult, figure_result, table_result, write_result
from .run import TableRun
from .tables import FIGURES, PaperTable, paper_table


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
    workers: WorkerOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> ReproduceResult:
    """Protect the images at `source`, train victims for the cells of a table, and compare our numbers with the paper's.

    `scale` is the preset of both sides; with "quick" the small network stands for ResNet-18 and with "medium" that of
    nine layers, unless a table compares networks, and patience is scaled with the length of the training. `cells` are
    patterns of ROW:COLUMN, like "SEM:4/255" or "REM*:*", made in that order; figures have none. `dataset` chooses
    among a table's blocks. Every seed is that of a protection and of its victims. `settings` are fields of
    `VerifyConfig` for all victims alike, `protection` fields of `ProtectConfig` for all protections. Victims are tested
    on the images at `test`, a source like the other, and trained on all of `source`; without it a part of `source` is
    held out.

    Finished work is kept in `out`, so that the same call continues where it stopped. After about `minutes` it stops
    by itself and raises `TimeIsUp`. What another machine needs to continue is then in the folder `state`, in a few
    files; a call with an empty `out` begins with what is there. With scale "paper" weights are rounded now and then
    (`round_every`), and the table is the same, bit for bit on machines of one kind, in one piece or in many.

    So many `workers` as are given make the shards of a protection, and when all protections are there they train the
    victims of all of them at once, in one piece. The table is the same.

    Raises as `protect` and `verify`, `SettingError` for a table, dataset or cell that the paper does not have, and
    `LedgerError` where `out` holds a journal of another schema version.
    """
    request = TableRequest(
        table, source, settings, scale, dataset, cells, seeds, protection or {}, test, device, progress,
        workers or WorkerOptions(),
    )  # fmt: skip
    request.workers.check()
    request.workers.refuse_mixed("a reproduction")
    if request.workers.together and (minutes is not None or state):
        raise SettingError("minutes and state are for one victim after the other; leave out the workers, or these")
    paper = paper_table(table, dataset)
    if minutes is not None and minutes <= 0:
        raise SettingError(f"minutes = {minutes} must be above 0")
    if table in FIGURES and (seeds != 1 or list(cells) != ["*"] or test or minutes or state):
        raise SettingError(f"{table} has one seed and no cells to choose from, and is made in one piece")
    out, state = local_path(out, "out"), local_path(state, "state") if state else None
    _prepare(out, state)
    if table in FIGURES:
        with one_cluster(request.workers):
            result = figure_result(request, paper, make_figure(request, paper, out), out)
        write_result(result, paper)
        return result
    return _make_table(request, paper, out, Deadline(60 * minutes) if minutes else Deadline(), state)


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
    rates: tuple[float, float] | None = None,
    device: str = "auto",
    **settings: Any,
) -> list[PlannedPart]:
    """The parts of `reproduce` in their order, with operations, bytes, and the seconds below which they cannot be done
    at the rates (FLOP per second, bytes per second) in `rates`, or measured on this device.

    Raises as `reproduce`, and `SettingError` for a figure.
    """
    request = TableRequest(table, source, settings, scale, dataset, cells, seeds, protection or {}, test, device)
    paper = paper_table(table, dataset)
    if table in FIGURES:
        raise SettingError(f"{table} has no plan; only tables do")
    runtime = request.runtime()
    plan = plan_table(paper, cells, request.basis(runtime, open_images(request).facts()))
    at = rates or measured_rates(runtime)
    return [PlannedPart(item.label, item.work.flop, item.work.bytes, item.work.seconds(*at)) for item in plan.items()]


def _prepare(out: Path, state: Path | None) -> None:
    """Make `out` a private folder; an empty one begins with the files in `state`."""
    if state and not (out.exists() and any(out.iterdir())):
        unpack(state, out)
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)


def _make_table(
    request: TableRequest, paper: PaperTable, out: Path, deadline: Deadline, state: Path | None
) -> ReproduceResult:
    """Plan, carry out, and write down what is done, also where the time is up or something fails."""
    runtime, images = request.runtime(), open_images(request)
    plan = plan_table(paper, request.cells, request.basis(runtime, images.facts()))
    journal = Journal.open(out / "record.json", runtime)
    run = TableRun(request, images, plan, journal, out, deadline)
    try:
        with one_cluster(request.workers):
            run.execute()
    finally:
        result = table_result(request, paper, plan, journal, out)
        write_result(result, paper)
        if state:
            pack(out, run.files_to_carry(), state)
    return result
