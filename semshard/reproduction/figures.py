"""Figures 3 and 5 of the paper: what its text claims of them, and what a sweep of ours finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..progress import Progress, with_prefix
from ..settings import VerifyConfig, coerce, format_radius, protect_config
from ..studies.robustness import robustness
from ..studies.sweep import SweepResult, sweep

_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # of the preset's training steps: 500 to 5,000 with paper
_DRAWS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class TableCell:
    """A number of the paper and ours, test accuracies in % unless the row says otherwise; None where there is none."""

    row: str
    column: str
    paper: float | None
    ours: float | None = None  # after the last step, or what early stopping kept; mean over the seeds
    best: float | None = None  # the highest on the way, mean over the seeds
    spread: float | None = None  # half the distance between the lowest and the highest seed
    protect: dict[str, Any] | None = field(default=None, compare=False)  # None: clean images
    victim: dict[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Study:
    """Where a figure is made."""

    source: str | Path
    out: Path
    scale: str
    device: str
    progress: Progress
    settings: Mapping[str, Any]
    protection: Mapping[str, Any]

    def sweep(self, about: Mapping[str, Any], setting: str, values: list[Any]) -> SweepResult:
        """A sweep over one setting of the paper's protection, with victims at its radius."""
        made, against = {**about["base"]["protect"], **self.protection}, about["base"]["victim"]["rho_a"]
        victim = {"rho_a": against, **self.settings}
        given = {name: value for name, value in made.items() if name != setting}
        return sweep(
            self.source, self.out / setting, setting, values, preset=self.scale, victim=victim, device=self.device,
            progress=with_prefix(setting, self.progress), **given,
        )  # fmt: skip

    def steps(self) -> list[int]:
        """Training steps of the surrogate, from a tenth of the preset's to all."""
        most = self.protection.get("steps") or protect_config(self.scale, (32, 32), "float32", {}).steps
        return [max(1, round(most * share)) for share in _SHARES]


Found = tuple[list[TableCell], dict[str, int], dict[str, Any]]


def figure3(study: Study, about: Mapping[str, Any]) -> Found:
    """Pearson's r of protection with the robustness of the surrogate, and with that of the noise."""
    swept = study.sweep(about, "steps", study.steps())
    folders = [study.out / "steps" / f"steps={value}" for value in swept.values]
    radius = format_radius(coerce(VerifyConfig, {"rho_a": about["base"]["victim"]["rho_a"]})["rho_a"][0])
    found = robustness(
        folders, study.out / "robustness", preset=study.scale, device=study.device, progress=study.progress,
        **{"rho_a": radius, **study.settings},
    )  # fmt: skip
    ours = found.correlation["surrogate"], found.correlation["noise"]
    cells = [
        TableCell(claim["name"], claim["text"], claim["value"], None if r is None else round(r, 2))
        for claim, r in zip(about["claims"], ours, strict=True)
    ]
    return cells, swept.samples, swept.victim


def figure5(study: Study, about: Mapping[str, Any]) -> Found:
    """How test accuracy changes, in points, from the fewest to the most training steps M, and draws J."""
    several = study.sweep(about, "steps", study.steps()), study.sweep(about, "draws", list(_DRAWS))
    cells = []
    for claim, swept in zip(about["claims"], several, strict=True):
        final = {str(cell.value): 100 * cell.final for cell in swept.cells if cell.value is not None}
        first, last = (final[str(swept.values[end])] for end in (0, -1))
        cells.append(TableCell(claim["name"], claim["text"], claim["value"], round(last - first, 2)))
        for value in swept.values:
            name = "M" if swept.setting == "steps" else "J"
            cells.append(TableCell(f"{name} = {value}", "test accuracy, %", None, round(final[str(value)], 2)))
    return cells, several[0].samples, several[0].victim


STUDIES: dict[str, Callable[[Study, Mapping[str, Any]], Found]] = {"figure3": figure3, "figure5": figure5}
