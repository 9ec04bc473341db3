"""An examination: some samples to train victims on, others, clean, to test them; and victims that sit it.

Verify, sweep and robustness share it. A trained victim's figures are kept, so that none is trained twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._originals import Originals, find_originals
from .atomic import write_json
from .config import VerifyConfig, to_json
from .engine import Runtime
from .errors import LedgerError, ShardError
from .progress import Event, Now, Progress
from .radii import format_radius
from .shards import Shards, ledger_path
from .victims import Labelled, Point, Victim, train_victim


@dataclass(frozen=True)
class Split:
    """The chosen samples: labels, clean and protected pixels uint8 (N, H, W, 3), and which are for what."""

    labels: NDArray[np.int64]
    clean: NDArray[np.uint8]
    protected: NDArray[np.uint8]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]  # held out; a twin of a training image is in neither

    def exam(self) -> Labelled:
        """The clean images that no victim sees in any form."""
        return Labelled(_planes(self.clean[self.test]), torch.from_numpy(self.labels[self.test]))

    def lesson(self, pixels: NDArray[np.uint8]) -> Labelled:
        """What a victim learns from, of `pixels` like those of this split."""
        return Labelled(_planes(pixels[self.train]), torch.from_numpy(self.labels[self.train]))


def the_originals(shards: Shards, clean: str | Path | None) -> Originals:
    """The originals of `shards`. Raises `LedgerError` where they cannot be had."""
    originals = find_originals(shards, clean)
    if originals is None:
        raise LedgerError(
            f"the clean originals are missing: {ledger_path(shards.directory)} does not exist; "
            "give --clean SOURCE with the images that the shards were made from"
        )
    return originals


def load_split(shards: Shards, originals: Originals, config: VerifyConfig, progress: Progress) -> Split:
    """Samples chosen and held out by hashes of their keys. Raises `ShardError` where they are too few."""
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


def _planes(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Examiner:
    """Where victims are trained, by which recipe, and who is told of it."""

    runtime: Runtime
    config: VerifyConfig
    classes: int
    progress: Progress

    def train(
        self, phase: str, lesson: Labelled, exam: Labelled, rho_a: float, about: Mapping[str, float]
    ) -> tuple[Victim, float]:
        """A victim, and the seconds it took."""
        show = Now()

        def advance(step: int, loss: Tensor, point: Point | None) -> None:
            if show(point is not None):
                figures = {"loss": float(loss), **about, **({"test": point.test} if point else {})}
                self.progress(Event(phase, step, self.config.steps, "steps", figures))

        start = time.perf_counter()
        if self.runtime.fits(lesson.images.numel()):
            device = self.runtime.device
            lesson = Labelled(lesson.images.to(device), lesson.labels.to(device))
        victim = train_victim(self.runtime, lesson, exam, self.classes, self.config, rho_a, advance)
        return victim, round(time.perf_counter() - start, 1)

    def figures(
        self, kept: Kept, key: str, phase: str, lesson: Labelled, exam: Labelled, rho_a: float
    ) -> dict[str, float]:
        """Final, best and training accuracy of a victim, and its seconds; trained only where they are not kept."""

        def made() -> dict[str, float]:
            victim, seconds = self.train(phase, lesson, exam, rho_a, {})
            return {"final": victim.final, "best": victim.best, "train": victim.train, "seconds": seconds}

        return kept.get(key, made)


@dataclass
class Kept:
    """Figures that took long, by a fingerprint of all that they depend on, in a JSON file."""

    path: Path
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self._known = json.loads(self.path.read_text())

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is kept under `key`; made and kept now where there is nothing yet."""
        if key not in self._known:
            self._known[key] = make()
            write_json(self.path, self._known)
        return self._known[key]


def victim_key(lesson: Labelled, exam: Labelled, rho_a: float, config: VerifyConfig, *more: Any) -> str:
    """The fingerprint of a victim: every pixel and label it learns from or is tested on, and its recipe."""
    digest = hashlib.sha256()
    for data in (lesson, exam):
        for tensor in (data.images, data.labels):
            digest.update(tensor.numpy().tobytes())
    recipe = {name: value for name, value in to_json(config).items() if name != "rho_a"}
    digest.update(json.dumps([recipe, format_radius(rho_a), *more], sort_keys=True).encode())
    return digest.hexdigest()
