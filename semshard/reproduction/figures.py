"""Figures 3 and 5 of the paper: what its text claims about them, and what our sweeps show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..engine import make_runtime
from ..progress import with_prefix
from ..protection.request import Request
from ..settings import VerifyConfig, coerce, format_radius, protect_config
from ..studies.robustness import robustness
from ..studies.shared_scan import SharedScan
from ..studies.sweep import SweepRequest, SweepResult, run_sweep
from .request import TableRequest
from .tables import PaperTable, TableCell

_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the preset's training steps: 500 to 5,000 with paper
_DRAWS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class FigureResult:
    """The claims about a figure as cells, and the samples and the recipe of the victims."""

    cells: list[TableCell]
    samples: dict[str, int]
    victim: dict[str, Any]


@dataclass(frozen=True)
class FigureRun:
    """The sweeps of a figure, which share one scan of the source."""

    request: TableRequest
    figure: PaperTable
    out: Path
    scan: SharedScan

    @property
    def rho_a(self) -> str:
        """The radius of the victims."""
        return str(self.figure.content["base"]["victim"]["rho_a"])

    def sweep(self, setting: str, values: list[Any]) -> SweepResult:
        """A sweep over one setting of the paper's protection, with victims at its radius."""
        settings = {name: value for name, value in self.scan.request.settings.items() if name != setting}
        progress = with_prefix(setting, self.request.progress)
        protection = replace(self.scan.request, settings=settings, progress=progress)
        victim = {"rho_a": self.rho_a, **self.request.settings}
        return run_sweep(SweepRequest(protection, setting, values, victim), self.out / setting, self.scan)

    def steps(self) -> list[int]:
        """Training steps of the surrogate, from a tenth of the preset's to all."""
        preset = protect_config(self.request.scale, (32, 32), "float32", {})
        most = self.request.protection.get("steps") or preset.steps
        return [max(1, round(most * share)) for share in _SHARES]


def make_figure(request: TableRequest, figure: PaperTable, out: Path) -> FigureResult:
    """Sweep what a figure shows, and compare with what the paper's text claims. Raises as `sweep`."""
    settings = {**figure.content["base"]["protect"], **request.protection}
    protection = Request(
        request.source,
        request.scale,
        device=request.device,
        progress=request.progress,
        settings=settings,
        workers=request.workers,
    )
    runtime = make_runtime(request.device, str(settings.get("precision", "auto")))
    return _FIGURES[figure.name](FigureRun(request, figure, out, SharedScan(protection, runtime)))


def _figure3(run: FigureRun) -> FigureResult:
    """Pearson's r of protection with the robustness of the surrogate, and with that of the noise."""
    swept, request = run.sweep("steps", run.steps()), run.request
    folders = [run.out / "steps" / f"steps={value}" for value in swept.values]
    radius = format_radius(coerce(VerifyConfig, {"rho_a": run.rho_a})["rho_a"][0])
    study = robustness(
        folders, run.out / "robustness", preset=request.scale, device=request.device, progress=request.progress,
        **{"rho_a": radius, **request.settings},
    )  # fmt: skip
    pearson = study.correlation["surrogate"], study.correlation["noise"]
    cells = [
        TableCell(claim["name"], claim["text"], claim["value"], None if r is None else round(r, 2))
        for claim, r in zip(run.figure.content["claims"], pearson, strict=True)
    ]
    return FigureResult(cells, swept.samples, swept.victim)


def _figure5(run: FigureRun) -> FigureResult:
    """How test accuracy changes, in points, from the fewest to the most training steps M, and draws J."""
    sweeps = run.sweep("steps", run.steps()), run.sweep("draws", list(_DRAWS))
    cells = []
    for claim, swept in zip(run.figure.content["claims"], sweeps, strict=True):
        final = {str(point.value): 100 * point.final for point in swept.cells if point.value is not None}
        first, last = (final[str(swept.values[end])] for end in (0, -1))
        cells.append(TableCell(claim["name"], claim["text"], claim["value"], round(last - first, 2)))
        symbol = "M" if swept.setting == "steps" else "J"
        for value in swept.values:
            cells.append(TableCell(f"{symbol} = {value}", "test accuracy, %", None, round(final[str(value)], 2)))
    return FigureResult(cells, sweeps[0].samples, sweeps[0].victim)


_FIGURES: dict[str, Callable[[FigureRun], FigureResult]] = {"figure3": _figure3, "figure5": _figure5}
