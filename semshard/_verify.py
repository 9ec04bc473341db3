"""The story of verify: shards → victims (adversarially trained) → accuracy on clean images → report."""

from __future__ import annotations

import hashlib
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._originals import Originals, find_originals
from ._preview import grid_png, preview_rows
from ._version import __version__
from .atomic import write_json
from .config import VerifyConfig, format_radius, to_json, verify_config
from .engine import Runtime, choose_preset, make_runtime
from .errors import LedgerError, ShardError
from .progress import Event, Now, Progress, remarks, silent
from .shards import Shards, ledger_path, open_shards
from .victims import Labelled, Point, train_victim, verdict, write_report

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


@dataclass(frozen=True)
class Split:
    """The chosen samples: labels, clean and protected pixels uint8 (N, H, W, 3), and which are for what."""

    labels: NDArray[np.int64]
    clean: NDArray[np.uint8]
    protected: NDArray[np.uint8]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]  # held out; a twin of a training image is in neither


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
    if preset == "auto":
        preset, reason = choose_preset(runtime.device)
        progress(Event("start", message=f"preset: {preset} ({reason})"))
    config = verify_config(preset, size, runtime.precision, settings)
    originals = find_originals(opened, clean)
    if originals is None:
        raise LedgerError(
            f"the clean originals are missing: {ledger_path(opened.directory)} does not exist; "
            "give --clean SOURCE with the images that the shards were made from"
        )
    split = _load(opened, originals, config, progress)
    results = _victims(opened, split, config, runtime, progress)
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


def _load(shards: Shards, originals: Originals, config: VerifyConfig, progress: Progress) -> Split:
    wanted = config.max_samples / len(shards) if config.max_samples else 1
    chosen = [shards[number] for number, key in enumerate(shards.keys()) if _share(key) < wanted]
    pixels, keys, missing = originals.stack([sample.key for sample in chosen])
    progress(Event("load", len(shards), len(shards), "samples"))
    if missing:
        key, reason = next(iter(missing.items()))
        left_out = f"{len(missing)} of {len(chosen)} samples are left out: their originals cannot be had"
        progress(Event("load", message=f"{left_out} ({key}: {reason})"))
    by_key = {sample.key: sample for sample in chosen}
    labels = np.array([by_key[key].label for key in keys], np.int64)
    held_out = np.array([_share(f"holdout/{key}") < config.holdout for key in keys], bool)
    digests = np.array([hashlib.sha256(picture.tobytes()).hexdigest() for picture in pixels])
    test = held_out & ~np.isin(digests, digests[~held_out])
    if not test.any() or held_out.all():
        raise ShardError(
            f"{len(keys)} samples are too few to hold out {config.holdout:.0%} for testing; "
            "protect more, or set --holdout"
        )
    protected = np.stack([by_key[key].image for key in keys])
    return Split(labels, pixels, protected, ~held_out, test)


def _share(text: str) -> float:
    """A number in [0, 1), uniform over texts: the first bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


def _victims(
    shards: Shards, split: Split, config: VerifyConfig, runtime: Runtime, progress: Progress
) -> list[VictimResult]:
    noisy = control(split.clean, shards.budget, config.seed)
    data = {"clean": split.clean, "protected": split.protected, "control": noisy}
    labels = torch.from_numpy(split.labels)
    train, test = torch.from_numpy(split.train), torch.from_numpy(split.test)
    exam = Labelled(_planes(split.clean)[test], labels[test])
    results = []
    show = Now()
    victims = [(rho, kind) for rho in config.rho_a for kind in KINDS]
    for number, (rho, kind) in enumerate(victims):
        phase = f"victim on {kind}, {format_radius(rho)}"

        def advance(step: int, loss: Tensor, point: Point | None, phase: str = phase, number: int = number) -> None:
            if show(point is not None):
                figures = {"loss": float(loss), "victim": number + 1, "victims": len(victims)}
                progress(Event(phase, step, config.steps, "steps", figures | ({"test": point.test} if point else {})))

        start = time.perf_counter()
        lesson = Labelled(_planes(data[kind])[train], labels[train])
        if runtime.fits(lesson.images.numel()):
            lesson = Labelled(lesson.images.to(runtime.device), lesson.labels.to(runtime.device))
        curve = train_victim(runtime, lesson, exam, len(shards.classes), config, rho, advance)
        best, seconds = max(point.test for point in curve), round(time.perf_counter() - start, 1)
        end = curve[-1]
        results.append(
            VictimResult(config.network, rho, kind, config.seed, end.test, best, end.train, seconds, tuple(curve))
        )
    return results


def control(clean: NDArray[np.uint8], budget: int, seed: int) -> NDArray[np.uint8]:
    """The originals with noise that is as large as the budget allows and means nothing: uniform in ±budget."""
    random = np.random.Generator(np.random.PCG64([seed, 0xC0]))
    noise = random.integers(-budget, budget, clean.shape, np.int16, endpoint=True)
    noisy: NDArray[np.uint8] = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return noisy


def _planes(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


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
