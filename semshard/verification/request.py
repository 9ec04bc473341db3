"""What the caller of verify asked for, and the recipe of the victims that follows from it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engine import Runtime, choose_preset, make_runtime
from ..errors import SettingError
from ..models import Weights, read_weights
from ..progress import Event, Progress, remarks, silent
from ..settings import LISTED, Size, VerifyConfig, verify_config
from ..victims import BY_NAME, attackers, unsuited
from ..workers import WorkerOptions

WITH_RADII = ("none", "grey", "jpeg-10")  # countermeasures that are tried where radii are listed and no countermeasure


@dataclass(frozen=True)
class VerifyRequest:
    """The arguments of `verify`; `settings` are the fields of `VerifyConfig` that were given."""

    shards: str | Path
    clean: str | Path | None = None  # where the originals are, if not where the ledger says
    preset: str = "auto"
    ledger: str | Path | None = None  # if not the one beside the shards
    report: str | Path | None = None  # the folder of the report
    weights: str | Path | None = None  # that victims start from
    device: str = "auto"
    progress: Progress = silent
    settings: Mapping[str, Any] = field(default_factory=dict)
    given_workers: WorkerOptions | None = None
    autosave_seconds: float = 60.0  # between two checkpoints of a victim

    @property
    def workers(self) -> WorkerOptions:
        """Who trains victims."""
        return self.given_workers or WorkerOptions()

    def runtime(self) -> Runtime:
        """The device and the precision. Raises `SettingError` where the device does not exist."""
        return make_runtime(self.device, str(self.settings.get("precision", "auto")), remarks(self.progress))

    def config(self, size: Size, runtime: Runtime) -> VerifyConfig:
        """The attackers and the recipe of their victims, for images of `size`. Raises `SettingError`."""
        preset = choose_preset(self.preset, runtime)
        config = verify_config(preset, size, runtime.precision, self._with_set())
        return self._possible(self._with_starts(self._suited(self._with_countermeasures(config), size)))

    def start_weights(self) -> Weights | None:
        """The weights that victims start from, if any. Raises `SettingError`."""
        return read_weights(str(self.weights)) if self.weights else None

    def _with_set(self) -> Mapping[str, Any]:
        """The settings, with the usual set where neither a set nor a member of one is asked for."""
        if self.settings.keys() & {"attackers", "countermeasure", "rho_a"}:
            return self.settings
        return {**self.settings, "attackers": "usual"}

    def _with_countermeasures(self, config: VerifyConfig) -> VerifyConfig:
        """Where attackers are listed without a countermeasure, three of them, each at radius 0, too."""
        if config.attackers != LISTED or "countermeasure" in self.settings:
            return config
        return replace(config, countermeasure=WITH_RADII, rho_a=tuple(dict.fromkeys((0.0, *config.rho_a))))

    def _suited(self, config: VerifyConfig, size: Size) -> VerifyConfig:
        """Without the countermeasures that need images of one size, where each has its own. Raises `SettingError` where
        no other is asked for.
        """
        unsuited = [name for name in config.countermeasure if BY_NAME[name].one_size] if size is None else []
        if not unsuited:
            return config
        left = tuple(name for name in config.countermeasure if name not in unsuited)
        needs = f"{' and '.join(unsuited)} need{'s' if len(unsuited) == 1 else ''} images of one size"
        if not left:
            raise SettingError(f"{needs}; these shards have photographs of different sizes")
        self.progress(Event("victims", message=f"{needs}: not tried"))
        return replace(config, countermeasure=left)

    def _with_starts(self, config: VerifyConfig) -> VerifyConfig:
        """With weights, a linear probe and full fine-tuning, unless something else is asked for."""
        if self.weights and "start" not in self.settings:
            return replace(config, start=("probe", "full"))
        if self.weights and config.start == ("scratch",):
            raise SettingError("start = scratch does not use --weights; leave one of them out")
        if not self.weights and config.start != ("scratch",):
            raise SettingError(f"start = {', '.join(config.start)} needs weights; give --weights")
        return config

    def _possible(self, config: VerifyConfig) -> VerifyConfig:
        """Says which combinations of the lists are left out. Raises `SettingError` where no other is asked for."""
        radii = config.rho_a if config.attackers == LISTED else (0.0,)  # a set has those that go together
        found = itertools.product(config.countermeasure, radii, config.start)
        problems = list(dict.fromkeys(problem for each in found if (problem := unsuited(*each))))
        if problems and not any(attackers(config)):
            raise SettingError(problems[0])
        for problem in problems:
            self.progress(Event("victims", message=f"{problem}: other combinations are not tried"))
        return config
