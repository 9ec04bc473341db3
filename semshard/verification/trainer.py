"""An examination: victims that sit it, on the samples of a split.

Verify, sweep and robustness share it. A trained victim's figures are kept, so that none is trained twice.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._version import __version__
from ..atomic import write_json
from ..engine import Runtime
from ..engine.deadline import NEVER, Autosave, Deadline
from ..errors import SettingError
from ..models import Weights, build, build_from
from ..noise.views import make_view
from ..progress import Event, Progress, Throttle
from ..settings import Size, VerifyConfig, fingerprint, to_json
from ..victims import Attacker, Point, TrainingState, Victim, VictimData, train_victim
from .checkpoint import VictimCheckpoint

KEPT_EVERY = 60.0  # seconds between two checkpoints of a victim


@dataclass(frozen=True)
class VictimTrainer:
    """Where victims are trained, by which recipe, from which weights, and who is told of it."""

    runtime: Runtime
    config: VerifyConfig
    classes: int
    progress: Progress
    weights: Weights | None = None
    folder: Path | None = None  # where an unfinished training is kept, so that it can go on
    deadline: Deadline = NEVER

    def plain(self, rho_a: float) -> Attacker:
        """The attacker of studies that have one network and no countermeasure."""
        return Attacker(self.config.victim[0], rho_a)

    def train(self, phase: str, material: VictimData, attacker: Attacker, seed: int) -> tuple[Victim, float]:
        """A victim, and the seconds it took."""
        show = Throttle()
        key = self.key(material, attacker, seed) if self.folder else ""
        kept = VictimCheckpoint(self.folder / f"victim-{key[:16]}.safetensors", key) if self.folder else None
        keeping = Autosave(phase, self.deadline, KEPT_EVERY)
        begin, start = kept.load() if kept else None, time.perf_counter()

        def advance(step: int, loss: Tensor, point: Point | None, standing: Callable[[], TrainingState]) -> None:
            if show(point is not None):
                figures = {"loss": float(loss), **({"test": point.test} if point else {})}
                self.progress(Event(phase, step, self.config.steps, "steps", figures))
            if kept:
                keeping.after(step, self.config, lambda: kept.save(standing()))

        if self.runtime.fits(material.train.images.numel()):
            material = replace(material, train=material.train.to(self.runtime.device))
        recipe = self.classes, self.config, attacker, seed, self.weights
        victim = train_victim(self.runtime, material, *recipe, advance, begin)
        if kept:
            kept.finished()
        return victim, round(kept.seconds if kept else time.perf_counter() - start, 1)

    def figures(self, kept: ResultCache, phase: str, material: VictimData, attacker: Attacker) -> dict[str, float]:
        """Final, best and training accuracy of a victim, and its seconds; trained only where they are not kept."""

        def made() -> dict[str, float]:
            victim, seconds = self.train(phase, material, attacker, self.config.seed)
            return {"final": victim.final, "best": victim.best, "train": victim.train, "seconds": seconds}

        return kept.get(self.key(material, attacker, self.config.seed), made)

    def key(self, material: VictimData, attacker: Attacker, seed: int, *more: Any) -> str:
        """The fingerprint of a victim: every pixel and label it learns from or is tested on, and its recipe."""
        early = attacker.countermeasure == "early-stop"
        left_out = [*_GRID, *([] if early else ["patience", "clean_share"]), *([] if attacker.rho_a else _ADVERSARY)]
        left_out.append("tune_lr" if attacker.start == "scratch" else "lr")
        recipe = {name: value for name, value in to_json(self.config).items() if name not in left_out}
        who = {name: value for name, value in attacker.to_json().items() if name != "protected_fraction"}
        weights = self.weights.digest if self.weights and attacker.start != "scratch" else ""
        where = __version__, torch.__version__, self.runtime.device.type
        return fingerprint(*where, material.digest, self.classes, who, seed, recipe, weights, *more)

    def check(self, size: Size) -> None:
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
class ResultCache:
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
