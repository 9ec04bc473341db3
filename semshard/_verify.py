"""The story of verify: shards → victims (adversarially trained) → accuracy on clean images → report."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._examine import Examiner, Split, load_split, the_originals
from ._preview import grid_png, preview_rows
from ._version import __version__
from .atomic import write_json
from .config import VerifyConfig, to_json
from .engine import Runtime, choose_preset, make_runtime
from .presets import verify_config
from .progress import Progress, remarks, silent
from .radii import format_radius
from .shards import Shards, open_shards
from .victims import Point, verdict, write_report

KINDS = ("clean", "protected", "control")


@dataclass(frozen=True)
class VictimResult:
    """One victim: what it was trained on, and how well it names clean images that it never saw. Shares in [0, 1]."""

    victim: str
    rho_a: float
    data: str  # clean | protected | control
    seed: int
    final: float  # test accuracy after the last step
    best: float  # highest test accuracy on the way
    train: float  # accuracy on the images it was trained on, after the last step
    seconds: float
    curve: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "victim": self.victim, "rho_a": format_radius(self.rho_a), "data": self.data, "seed": self.seed,
            "final": self.final, "best": self.best, "train": self.train, "seconds": self.seconds,
            "curve": [{"step": p.step, "test": p.test, "train": p.train} for p in self.curve],
        }  # fmt: skip


@dataclass(frozen=True)
class VerifyResult:
    """What a verification found, and where its report lies."""

    results: list[VictimResult]
    chance: float
    samples: dict[str, int]  # train, test
    verdict: list[str]  # a plain sentence per radius
    report: str  # the folder of report.json and report.html

    def worst(self) -> float:
        """The highest final test accuracy of a victim on the shards: what the strongest attacker gets."""
        return max(result.final for result in self.results if result.data == "protected")

    def to_json(self) -> dict[str, Any]:
        return {
            "results": [result.to_json() for result in self.results], "chance": self.chance,
            "samples": self.samples, "verdict": self.verdict, "report": self.report,
        }  # fmt: skip


def verify(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    preset: str = "auto",
    report: str | Path | None = None,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> VerifyResult:
    """Train the same victim on the clean originals, on the shards and on the originals with random noise (control),
    for every radius, and test each on clean images that none of them saw in any form.

    `settings` are fields of `VerifyConfig`. Writes report.json and report.html into `report` (default:
    `<shards>.report` beside the shards; it shows clean pixels, so it is not for publication).

    Raises `LedgerError` where the originals cannot be had, `ShardError`, `SourceError`, `SettingError`.
    """
    opened = open_shards(shards)
    size = opened.manifest["image"]["height"], opened.manifest["image"]["width"]
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    config = verify_config(preset, size, runtime.precision, settings)
    originals = the_originals(opened, clean)
    split = load_split(opened, originals, config, progress)
    results = _victims(split, opened.budget, Examiner(runtime, config, len(opened.classes), progress))
    chance = 1 / len(opened.classes)
    sentences = [
        verdict(format_radius(rho), {kind: _final(results, rho, kind) for kind in KINDS}, chance)
        for rho in config.rho_a
    ]
    folder = Path(report) if report else Path(f"{opened.directory.absolute()}.report")
    counts = {"train": int(split.train.sum()), "test": int(split.test.sum())}
    found = VerifyResult(results, chance, counts, sentences, str(folder))
    _write(folder, found, config, opened, runtime, grid_png(preview_rows(opened, 8, originals), opened.budget))
    return found


def _victims(split: Split, budget: int, examiner: Examiner) -> list[VictimResult]:
    config = examiner.config
    data = {"clean": split.clean, "protected": split.protected, "control": control(split.clean, budget, config.seed)}
    exam, results = split.exam(), []
    victims = [(rho, kind) for rho in config.rho_a for kind in KINDS]
    for number, (rho, kind) in enumerate(victims, 1):
        phase, about = f"victim on {kind}, {format_radius(rho)}", {"victim": number, "victims": len(victims)}
        victim, seconds = examiner.train(phase, split.lesson(data[kind]), exam, rho, about)
        figures = victim.final, victim.best, victim.train, seconds, tuple(victim.curve)
        results.append(VictimResult(config.network, rho, kind, config.seed, *figures))
    return results


def control(clean: NDArray[np.uint8], budget: int, seed: int) -> NDArray[np.uint8]:
    """The originals with noise that is as large as the budget allows and means nothing: uniform in ±budget."""
    random = np.random.Generator(np.random.PCG64([seed, 0xC0]))
    noise = random.integers(-budget, budget, clean.shape, np.int16, endpoint=True)
    noisy: NDArray[np.uint8] = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return noisy


def _final(results: list[VictimResult], rho: float, kind: str) -> float:
    return next(result.final for result in results if result.rho_a == rho and result.data == kind)


def _write(
    folder: Path, found: VerifyResult, config: VerifyConfig, shards: Shards, runtime: Runtime, grid: bytes
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    manifest = shards.directory / "manifest.json"
    about = {
        "schema_version": 1,
        "tool": {"name": "semshard", "version": __version__},
        "manifest_sha256": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "settings": to_json(config),
        "hardware": {
            "device": torch.cuda.get_device_name() if runtime.device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        **found.to_json(),
    }
    write_json(folder / "report.json", {name: value for name, value in about.items() if name != "report"})
    write_report(folder / "report.html", about, shards.manifest, grid)
