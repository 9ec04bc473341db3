"""An examination: some samples to train victims on, others, clean, to test them; and victims that sit it.

Verify, sweep and robustness share it. A trained victim's figures are kept, so that none is trained twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._originals import Originals, find_originals
from ._version import __version__
from .atomic import write_json
from .config import VerifyConfig, fingerprint, to_json
from .engine import Runtime
from .errors import LedgerError, SettingError, ShardError
from .models import Weights, build, build_from
from .noise.views import make_view
from .progress import Event, Now, Progress
from .shards import Shards, ledger_path
from .victims import BY_NAME, Attacker, Labelled, Material, Point, Victim, apply, train_victim

VALIDATION = 0.1  # of the training images, for early stopping


@dataclass(frozen=True)
class Split:
    """The chosen samples: keys, labels, clean and protected pixels uint8 (N, H, W, 3), and which are for what."""

    keys: list[str]
    labels: NDArray[np.int64]
    clean: NDArray[np.uint8]
    protected: NDArray[np.uint8]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]  # held out; a twin of a training image is in neither

    def exam(self) -> Labelled:
        """The clean images that no victim sees in any form."""
        return self._labelled(self.clean, self.test)

    def material(
        self, pixels: NDArray[np.uint8], countermeasure: str = "none", fraction: float = 1.0, rest: bool = False
    ) -> Material:
        """What a victim learns from `pixels`, like those of this split, and what it is tested on, both through the
        countermeasure's filter. Only a `fraction` of the training images is of `pixels`, the others are clean;
        with `rest` only those others are there.
        """
        chosen = self._drawn("fraction", fraction)
        mixed = pixels if fraction == 1 else np.where(chosen[:, None, None, None], pixels, self.clean)
        train = self.train & ~chosen if rest else self.train
        held_back = self._drawn("validation", VALIDATION if countermeasure == "early-stop" else 0)
        lesson, exam = self._labelled(mixed, train & ~held_back), self.exam()
        validation = None
        if not len(lesson.labels):
            raise ShardError(
                f"{self.train.sum()} training images are too few: none is left unprotected of {fraction:.4g}"
            )
        if countermeasure == "early-stop" and not (train & held_back).any():
            raise ShardError(f"{train.sum()} training images are too few to hold some back for early stopping")
        if countermeasure == "early-stop":
            validation = self._labelled(mixed, train & held_back), self._labelled(self.clean, train & held_back)
        filter = BY_NAME[countermeasure].filter
        if filter:
            lesson, exam = (Labelled(apply(filter, each.images), each.labels) for each in (lesson, exam))
        return Material(lesson, exam, validation)

    def _drawn(self, purpose: str, share: float) -> NDArray[np.bool_]:
        """Whether each sample is in a share of them, by a hash of its key."""
        return np.array([_share(f"{purpose}/{key}") < share for key in self.keys], bool)

    def _labelled(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Labelled:
        planes = torch.from_numpy(pixels[mask]).permute(0, 3, 1, 2).contiguous()
        return Labelled(planes, torch.from_numpy(self.labels[mask]))


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
    return Split(keys, labels, pixels, protected, ~held_out, test)


def _share(text: str) -> float:
    """A number in [0, 1), uniform over texts: the first bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48


@dataclass(frozen=True)
class Examiner:
    """Where victims are trained, by which recipe, from which weights, and who is told of it."""

    runtime: Runtime
    config: VerifyConfig
    classes: int
    progress: Progress
    weights: Weights | None = None

    def plain(self, rho_a: float) -> Attacker:
        """The attacker of studies that have one network and no countermeasure."""
        return Attacker(self.config.victim[0], rho_a)

    def train(self, phase: str, material: Material, attacker: Attacker, seed: int) -> tuple[Victim, float]:
        """A victim, and the seconds it took."""
        show = Now()

        def advance(step: int, loss: Tensor, point: Point | None) -> None:
            if show(point is not None):
                figures = {"loss": float(loss), **({"test": point.test} if point else {})}
                self.progress(Event(phase, step, self.config.steps, "steps", figures))

        start = time.perf_counter()
        if self.runtime.fits(material.train.images.numel()):
            material = replace(material, train=material.train.to(self.runtime.device))
        recipe = self.classes, self.config, attacker, seed, self.weights
        victim = train_victim(self.runtime, material, *recipe, advance)
        return victim, round(time.perf_counter() - start, 1)

    def figures(self, kept: Kept, phase: str, material: Material, attacker: Attacker) -> dict[str, float]:
        """Final, best and training accuracy of a victim, and its seconds; trained only where they are not kept."""

        def made() -> dict[str, float]:
            victim, seconds = self.train(phase, material, attacker, self.config.seed)
            return {"final": victim.final, "best": victim.best, "train": victim.train, "seconds": seconds}

        return kept.get(self.key(material, attacker, self.config.seed), made)

    def key(self, material: Material, attacker: Attacker, seed: int, *more: Any) -> str:
        """The fingerprint of a victim: every pixel and label it learns from or is tested on, and its recipe."""
        early = attacker.countermeasure == "early-stop"
        left_out = [*_GRID, *([] if early else ["patience", "clean_share"]), *([] if attacker.rho_a else _ADVERSARY)]
        left_out.append("tune_lr" if attacker.start == "scratch" else "lr")
        recipe = {name: value for name, value in to_json(self.config).items() if name not in left_out}
        who = {name: value for name, value in attacker.to_json().items() if name != "protected_fraction"}
        weights = self.weights.digest if self.weights and attacker.start != "scratch" else ""
        where = __version__, torch.__version__, self.runtime.device.type
        return fingerprint(*where, material.digest, self.classes, who, seed, recipe, weights, *more)

    def check(self, size: tuple[int, int]) -> None:
        """Raises `SettingError` where a network cannot take images of `size`, or the weights do not fit it."""
        _, (height, width) = make_view(self.config, size)
        for name, start in itertools.product(self.config.victim, self.config.start):
            if start == "scratch":
                with torch.device("meta"):
                    build(name, self.classes, (height, width), 0)
            elif self.weights:
                build_from(self.weights, name, self.classes, (height, width), 0)


# What spans the grid, or chose the material: a victim is known by its attacker, its seed and its material.
_GRID = (
    "preset", "victim", "rho_a", "countermeasure", "start", "protected_fraction", "seeds", "seed", "holdout",
    "max_samples",
)  # fmt: skip
_ADVERSARY = ("steps_a", "step_share")


def one_attacker(config: VerifyConfig, what: str) -> None:
    """Raises `SettingError` where a study that has one kind of victim is asked for several."""
    plain = {"countermeasure": ("none",), "start": ("scratch",), "protected_fraction": (1.0,), "seeds": 1}
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise SettingError(f"{what} trains plain victims; {name} is for verify")
    if len(config.victim) != 1:
        raise SettingError(f"{what} takes one victim network, not {', '.join(config.victim)}")


@dataclass
class Kept:
    """Figures that took long, by a fingerprint of all that they depend on, in a JSON file."""

    path: Path
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self._known = json.loads(self.path.read_text())

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What is kept under `key`; made and kept now where there is nothing yet."""
        if key not in self._known:
            self._known[key] = make()
            write_json(self.path, self._known)
        return self._known[key]
