"""The story of verify: shards → victims (adversarially trained) → accuracy on clean images → verdicts → report."""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..engine import Runtime, choose_preset, make_runtime
from ..errors import OutputError, SettingError, ShardError
from ..inspection.preview import preview_rows
from ..inspection.similarity import linf, psnr, ssim
from ..models import read_weights
from ..progress import Progress, remarks, silent
from ..settings import COUNTERMEASURES, NETWORKS, VerifyConfig, to_json, verify_config
from ..shards import Shards, open_shards
from ..shards.attestation import FILE as ATTESTATION
from ..shards.attestation import statement
from ..victims import Attacker, attackers
from .dataset import VictimDataset, load_split, the_originals
from .grid import KINDS, REST, VictimResult, train_grid
from .parallel import train_in_parallel
from .report import Picture, write_report
from .trainer import ResultCache, VictimTrainer
from .verdict import RULE, interval, sentence, taught, word

SHOWN, MEASURED = 8, 2000  # samples in the report's pictures and in its histograms
USUAL = ("none", "grey", "jpeg-10")  # countermeasures of an attacker who is not described further
WINDOW = 384  # pixels a side of a report's pictures, at most
_UNBALANCED = 1.2  # the largest class beside the mean one, from which its share is told


@dataclass(frozen=True)
class AccuracySummary:
    """What an attacker reaches on one form of the collection, over all seeds. Shares in [0, 1], 95 % intervals."""

    final: float
    final_interval: tuple[float, float]
    best: float
    best_interval: tuple[float, float]
    train: float
    seeds: tuple[VictimResult, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "final": self.final, "final_interval": list(self.final_interval), "best": self.best,
            "best_interval": list(self.best_interval), "train": self.train,
            "seeds": [victim.figures() for victim in self.seeds],
        }  # fmt: skip


@dataclass(frozen=True)
class AttackerResult:
    """What the shards do to one attacker: protects | weakens | does not protect | cannot tell."""

    attacker: Attacker
    word: str
    taught: float | None  # the share of what the originals teach above the base that the shards still teach
    sentence: str
    data: dict[str, AccuracySummary]  # clean, protected, control; rest where only a part is protected

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.attacker.name, **self.attacker.to_json(), "word": self.word, "taught": self.taught,
            "sentence": self.sentence, "data": {kind: figures.to_json() for kind, figures in self.data.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class VerifyResult:
    """What a verification found, and where its report lies."""

    attackers: list[AttackerResult]
    chance: float
    majority: float | None  # share of the largest class among the test images, where classes are unbalanced
    samples: dict[str, int]  # train, test
    not_tried: list[str]
    report: str  # the folder of report.json, report.html and the attestation

    @property
    def results(self) -> list[VictimResult]:
        """Every victim."""
        return [victim for each in self.attackers for figures in each.data.values() for victim in figures.seeds]

    @property
    def partly(self) -> bool:
        """Whether an attacker had unprotected images too."""
        return any(REST in each.data for each in self.attackers)

    @property
    def strongest(self) -> AttackerResult:
        """The attacker who learns most, by best test accuracy, where the largest part is protected."""
        whole = max(each.attacker.fraction for each in self.attackers)
        among = [each for each in self.attackers if each.attacker.fraction == whole]
        return max(among, key=lambda each: each.data["protected"].best)

    def worst(self) -> float:
        """The best test accuracy of the strongest attacker."""
        return self.strongest.data["protected"].best

    def drop(self) -> float:
        """How far the strongest attacker stays below itself on the originals, both at their best."""
        return self.strongest.data["clean"].best - self.worst()

    @property
    def verdict(self) -> dict[str, str]:
        """That of the strongest attacker tried: its name, a word, a sentence."""
        found = self.strongest
        said = f"The strongest attacker tried: {found.sentence}"
        return {"attacker": found.attacker.name, "word": found.word, "sentence": said}

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "rule": RULE, "attackers": [each.to_json() for each in self.attackers],
            "chance": self.chance, "majority": self.majority, "samples": self.samples, "not_tried": self.not_tried,
            "report": self.report,
        }  # fmt: skip


def verify(
    shards: str | Path,
    *,
    clean: str | Path | None = None,
    preset: str = "auto",
    report: str | Path | None = None,
    weights: str | Path | None = None,
    jobs: int = 1,
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> VerifyResult:
    """Train every attacker that `settings` span on the clean originals, on the shards and on the originals with random
    noise (control), by the same recipe and seeds, and test each on clean images that none of them saw in any form.

    `settings` are fields of `VerifyConfig`. Without a countermeasure among them, pictures as they are, in greyscale and
    through JPEG 10 are learnt from, each with standard training and with adversarial training at the given radii.
    `weights` to start from are a safetensors file, or the torchvision name of some that are in its cache. Writes
    report.json, report.html and an in-toto attestation into `report` (default: `<shards>.report` beside the shards; it
    shows clean pixels, so it is not for publication); victims are kept there too, the one at work once a minute, so
    that the same call goes on where it stopped. `jobs` victims are trained at once, each in a process of its own.

    Raises `LedgerError` where the originals cannot be had, `ShardError`, `SourceError`, `SettingError`.
    """
    begun = time.monotonic()
    opened = open_shards(shards)
    digest = _digest(opened)
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    config = _usual(verify_config(preset, opened.size, runtime.precision, settings), settings)
    config = _starts(config, settings, weights)
    given = read_weights(str(weights)) if weights else None
    examiner = VictimTrainer(runtime, config, len(opened.classes), progress, given)
    examiner.check(opened.size)
    originals = the_originals(opened, clean)
    split = load_split(opened, originals, config, progress)
    folder = _report_folder(report, opened)
    examiner = replace(examiner, folder=folder)
    kept = ResultCache(folder / "victims.json")
    if jobs > 1:
        train_in_parallel(split, examiner, kept, jobs)
    results = train_grid(split, examiner, kept)
    found = _judge(results, split, config, len(opened.classes), str(folder))
    rows = preview_rows(opened, SHOWN, originals)
    pictures = [Picture(name, _middle(clean), _middle(each)) for name, clean, each in rows if clean is not None]
    _write(folder, found, config, opened, digest, split, runtime, pictures, time.monotonic() - begun)
    return found


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of a picture, at most `WINDOW` pixels a side: what a page shows of a photograph."""
    top, left = (max(0, (side - WINDOW) // 2) for side in pixels.shape[:2])
    return pixels[top : top + WINDOW, left : left + WINDOW]


def _digest(shards: Shards) -> str:
    """SHA-256 of the manifest. Raises `ShardError` where a tar is not the one that it names."""
    for path, stated in zip(shards.tars, shards.manifest["shards"], strict=True):
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise ShardError(f"{path} is missing") from None
        if found != stated["sha256"]:
            raise ShardError(f"{path} is not the tar that the manifest names; audit says more")
    return hashlib.sha256((shards.directory / "manifest.json").read_bytes()).hexdigest()


def _report_folder(report: str | Path | None, shards: Shards) -> Path:
    """Where the report goes: never into the folder that is published."""
    folder = Path(report) if report else Path(f"{shards.directory.absolute()}.report")
    if folder.resolve().is_relative_to(shards.directory.resolve()):
        raise OutputError(f"{folder} lies in the shards, which are published; a report shows clean images")
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o700)
    return folder


def _usual(config: VerifyConfig, given: dict[str, Any]) -> VerifyConfig:
    """Where no countermeasure is asked for, what people try first: each with and without adversarial training."""
    if "countermeasure" in given:
        return config
    return replace(config, countermeasure=USUAL, rho_a=tuple(dict.fromkeys((0.0, *config.rho_a))))


def _starts(config: VerifyConfig, given: dict[str, Any], weights: str | Path | None) -> VerifyConfig:
    """With weights, a linear probe and full fine-tuning, unless something else is asked for."""
    if weights and "start" not in given:
        return replace(config, start=("probe", "full"))
    if weights and config.start == ("scratch",):
        raise SettingError("start = scratch leaves --weights unread")
    if not weights and config.start != ("scratch",):
        raise SettingError(f"start = {', '.join(config.start)} wants weights; give --weights")
    return config


def _judge(
    results: list[VictimResult], split: VictimDataset, config: VerifyConfig, classes: int, folder: str
) -> VerifyResult:
    """Results become figures over seeds, words and sentences."""
    tested = int(split.test.sum())
    lessons = np.bincount(split.labels[split.train], minlength=classes)
    guess = float((split.labels[split.test] == lessons.argmax()).mean())  # of one who always names the largest class
    chance = 1 / classes
    of_all = np.bincount(split.labels, minlength=classes)
    majority = guess if of_all.max() > _UNBALANCED * of_all.mean() else None
    found = []
    for attacker in attackers(config):
        mine = [result for result in results if result.attacker == attacker]
        kinds = [kind for kind in (*KINDS, REST) if any(result.data == kind for result in mine)]
        data = {kind: _figures([each for each in mine if each.data == kind], tested) for kind in kinds}
        best = {kind: figures.best for kind, figures in data.items()}
        base, high = max(
            (guess, guess), (chance, chance), *((r.best, r.best_interval[1]) for k, r in data.items() if k == REST)
        )
        share = taught(best, base, data["clean"].best_interval[0], high)
        said = sentence(attacker.name, best, base, word(share))
        found.append(AttackerResult(attacker, word(share), share, said, data))
    samples = {"train": int(split.train.sum()), "test": tested}
    return VerifyResult(found, chance, majority, samples, _not_tried(config), folder)


def _figures(victims: list[VictimResult], tested: int) -> AccuracySummary:
    final, best = [victim.final for victim in victims], [victim.best for victim in victims]
    return AccuracySummary(
        statistics.fmean(final), interval(final, tested), statistics.fmean(best), interval(best, tested),
        statistics.fmean(victim.train for victim in victims), tuple(victims),
    )  # fmt: skip


def _not_tried(config: VerifyConfig) -> list[str]:
    """What else people do, of what this tool knows."""
    left = {
        "victim networks": [name for name in NETWORKS if name not in config.victim],
        "countermeasures": [name for name in COUNTERMEASURES if name not in config.countermeasure],
        "training": [
            *(["standard training"] if 0 not in config.rho_a else []),
            *(["adversarial training"] if not any(config.rho_a) else []),
            *(["fine-tuning of a network trained on other images"] if config.start == ("scratch",) else []),
            *(["a collection of which only a part is protected"] if config.protected_fraction == (1.0,) else []),
        ],
    }
    return [f"{what}: {', '.join(names)}" for what, names in left.items() if names]


def _write(
    folder: Path,
    found: VerifyResult,
    config: VerifyConfig,
    shards: Shards,
    digest: str,
    split: VictimDataset,
    runtime: Runtime,
    pictures: list[Picture],
    seconds: float,
) -> None:
    about = {
        "schema_version": 2,
        "tool": {"name": "semshard", "version": __version__},
        "manifest_sha256": digest,
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round(seconds, 1),
        "settings": to_json(config),
        "hardware": {
            "device": torch.cuda.get_device_name(runtime.device)
            if runtime.device.type == "cuda"
            else platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "classes": list(shards.classes),
        "noise": _noise(split),
        **{name: value for name, value in found.to_json().items() if name != "report"},
    }
    data = json.dumps(about, indent=1, ensure_ascii=False).encode() + b"\n"
    with atomic_write(folder / "report.json") as file:
        file.write(data)
    write_json(folder / ATTESTATION, statement(about, digest, data))
    write_report(folder / "report.html", about, shards.manifest, pictures)


def _noise(split: VictimDataset) -> dict[str, Any]:
    """How far the protected samples are from their originals; null for a PSNR that is infinite."""
    found, measures = {}, {"linf": linf, "psnr": psnr, "ssim": ssim}
    rows = [[measure(*pair) for measure in measures.values()] for pair in split.pairs(MEASURED)]
    for name, values in zip(measures, zip(*rows, strict=True), strict=True):
        found[name] = {"values": [round(value, 4) if np.isfinite(value) else None for value in values]}
    return found
