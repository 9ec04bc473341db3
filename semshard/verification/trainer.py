"""Training victims on the data of a dataset. Verify, the studies and the reproduction share it.

What a victim reached is cached, so that none is trained twice.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._version import __version__
from ..engine import NEVER, Deadline, Runtime
from ..errors import SettingError
from ..models import Weights, build, build_from
from ..noise.views import make_view
from ..progress import Event, Progress, Throttle
from ..settings import (
    FOR_ADVERSARY,
    FOR_EARLY_STOP,
    NOT_IN_RECIPE,
    ProtectConfig,
    Size,
    VerifyConfig,
    fingerprint,
    to_json,
)
from ..victims import Attacker, Point, Supervision, Victim, VictimData, VictimRecipe, train_victim, version_of
from .cache import ResultCache
from .checkpoint import VictimCheckpoint
from .results import VictimOutcome, outcome_from_json


@dataclass(frozen=True)
class VictimTrainer:
    """Where victims are trained, by which recipe, from which weights, and where their outcomes are kept."""

    runtime: Runtime
    config: VerifyConfig
    classes: int
    progress: Progress
    weights: Weights | None = None
    protection: ProtectConfig | None = None  # the public settings of the shards, where an attacker needs them
    folder: Path | None = None  # where an unfinished training is saved, so that it can be resumed
    cache: ResultCache | None = None  # of outcomes
    deadline: Deadline = NEVER
    autosave_seconds: float = 60.0  # between two checkpoints of a victim

    def plain(self, rho_a: float) -> Attacker:
        """The attacker of a study: one network, no countermeasure."""
        return Attacker(self.config.victim[0], rho_a)

    def outcome(self, phase: str, data: VictimData, attacker: Attacker, seed: int) -> VictimOutcome:
        """What a victim reaches; it is trained only where the cache does not know it."""

        def trained() -> dict[str, Any]:
            victim, seconds = self.train(phase, data, attacker, seed)
            return _outcome(victim, data, self.classes, seconds).to_json()

        if self.cache is None:
            return outcome_from_json(trained())
        return outcome_from_json(self.cache.get(self.key(data, attacker, seed), trained))

    def is_cached(self, data: VictimData, attacker: Attacker, seed: int) -> bool:
        """Whether `outcome` would train nothing."""
        return self.cache is not None and self.key(data, attacker, seed) in self.cache

    def train(self, phase: str, data: VictimData, attacker: Attacker, seed: int) -> tuple[Victim, float]:
        """A victim, and the seconds it took. An unfinished training in `folder` is resumed."""
        key = self.key(data, attacker, seed) if self.folder else ""
        checkpoint = VictimCheckpoint(self.folder / f"victim-{key[:16]}.safetensors", key) if self.folder else None
        times = attacker.times
        config = replace(self.config, steps=times * self.config.steps, lr_every=times * self.config.lr_every)
        supervision, start = self._supervise(phase, config.steps, checkpoint), time.perf_counter()
        if self.runtime.fits(data.train.images.numel()):
            data = replace(data, train=data.train.map(self.runtime.send))
        recipe = VictimRecipe(attacker, config, self.classes, seed, self.weights)
        victim = train_victim(self.runtime, data, recipe, supervision)
        if checkpoint:
            checkpoint.finished()
        return victim, round(checkpoint.seconds if checkpoint else time.perf_counter() - start, 1)

    def _supervise(self, phase: str, steps: int, checkpoint: VictimCheckpoint | None) -> Supervision:
        """Reports progress, and saves the training from time to time."""
        throttle = Throttle(self.runtime.report_seconds)

        def report(step: int, loss: Tensor, point: Point | None) -> None:
            if throttle(point is not None):
                figures = {"loss": float(loss), **({"test": point.test} if point else {})}
                self.progress(Event(phase, step, steps, "steps", figures))

        if checkpoint is None:
            return Supervision(phase, report=report)
        return Supervision(
            phase, checkpoint.load(), report, checkpoint.save, self.autosave_seconds, self.deadline
        )  # fmt: skip

    def key(self, data: VictimData, attacker: Attacker, seed: int, *more: Any) -> str:
        """The fingerprint of a victim: every pixel and label it trains on or is tested on, and its recipe."""
        early = attacker.countermeasure == "early-stop"
        left_out = [*NOT_IN_RECIPE, *([] if early else FOR_EARLY_STOP), *([] if attacker.rho_a else FOR_ADVERSARY)]
        left_out.append("tune_lr" if attacker.start == "scratch" else "lr")
        recipe = {name: value for name, value in to_json(self.config).items() if name not in left_out}
        who = {name: value for name, value in attacker.to_json().items() if name != "protected_fraction"}
        weights = self.weights.digest if self.weights and attacker.start != "scratch" else ""
        where = __version__, torch.__version__, self.runtime.device.type, *version_of(attacker.countermeasure)
        return fingerprint(*where, data.digest, self.classes, who, seed, recipe, weights, *more)

    def check(self, size: Size) -> None:
        """Raises `SettingError` where a network cannot take images of `size`, or the weights do not fit it."""
        _, (height, width) = make_view(self.config, size)
        for name, start in itertools.product(self.config.victim, self.config.start):
            if start == "scratch":
                with torch.device("meta"):
                    build(name, self.classes, (height, width), 0)
            elif self.weights:
                build_from(self.weights, name, self.classes, (height, width), 0)


def _outcome(victim: Victim, data: VictimData, classes: int, seconds: float) -> VictimOutcome:
    correct, labels = victim.correct.numpy(), data.test.labels.numpy()
    shares = [correct[labels == number].mean() if (labels == number).any() else None for number in range(classes)]
    per_class = tuple(None if share is None else round(float(share), 4) for share in shares)
    return VictimOutcome(
        victim.final, victim.best, victim.train, seconds, tuple(victim.curve), per_class, tuple(victim.stops),
        tuple(victim.correct_at_best.tolist()), **(asdict(victim.attacked) if victim.attacked else {}),
    )  # fmt: skip


def one_attacker(config: VerifyConfig, what: str) -> None:
    """Raises `SettingError` where a study, which trains one kind of victim, is asked for several."""
    plain = {
        "countermeasure": ("none",), "start": ("scratch",), "protected_fraction": (1.0,), "seeds": 1,
        "longer": 1, "filter_on": "both",
    }  # fmt: skip
    for name, value in plain.items():
        if getattr(config, name) != value:
            raise SettingError(f"{what} trains plain victims; {name} is a setting of verify only")
    if len(config.victim) != 1:
        raise SettingError(f"{what} takes one victim network, not {', '.join(config.victim)}")
