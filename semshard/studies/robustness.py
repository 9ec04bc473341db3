"""The story of robustness: shards and their surrogates → Definitions 1 and 2 → protection → how they go together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..engine import Runtime, choose_preset, load_tensors, make_runtime
from ..errors import LedgerError, SettingError
from ..noise import InnerPerturbation, networks_of, new_surrogate
from ..noise.robustness import AdversarialLoss, SurrogateRobustness, noise_robustness
from ..noise.views import make_view
from ..progress import Event, Progress, remarks, silent
from ..settings import ProtectConfig, VerifyConfig, format_radius, from_json, to_json, verify_config
from ..shards import Ledger, Shards, open_shards
from ..storage import local_path
from ..verification.cache import ResultCache
from ..verification.load import load_dataset, required_originals
from ..verification.trainer import VictimTrainer, one_attacker
from ..victims import LabelledImages, VictimData

NAMED = {
    "surrogate": r"$\mathcal{R}_\theta$, robustness of the surrogate (Eq. 8)",
    "noise": r"$\mathcal{R}_{\delta^u}$, robustness of the noise (Eq. 9)",
}


@dataclass(frozen=True)
class RobustnessPoint:
    """A surrogate and the noise made with it. Robustness is minus a mean cross-entropy: 0 is the most."""

    name: str
    method: str
    steps: int  # of the surrogate's training
    surrogate: float | None  # R_θ, Definition 1; None where the method has no surrogate
    noise: float  # R_δᵘ, Definition 2
    protection: float  # F = 1 − test accuracy of the victim, in [0, 1]


@dataclass(frozen=True)
class RobustnessResult:
    """The points of a study, and Pearson's r of protection with either robustness: None below three points, or where
    one does not vary.
    """

    points: list[RobustnessPoint]
    correlation: dict[str, float | None]  # surrogate, noise
    rho_a: str
    images: int  # that the losses are means over
    victim: dict[str, Any]
    out: str  # the folder of robustness.json and robustness.png

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def robustness(
    shards: Sequence[str | Path],
    out: str | Path,
    *,
    images: int = 1000,
    preset: str = "auto",
    device: str = "auto",
    progress: Progress = silent,
    **settings: Any,
) -> RobustnessResult:
    """R_θ and R_δᵘ (Definitions 1 and 2) of finished `shards` with their ledgers, their protection F, and, over three
    or more of them, how these go together (Figure 3).

    `settings` are fields of `VerifyConfig` with one radius `rho_a`: that of δᵃ in both definitions, and of the victim.
    For R_θ the surrogate is fixed and new noise is crafted, for R_δᵘ the noise is fixed and a new network, the
    victim, is trained; losses are means over `images` training images. Finished points are kept in `out`.

    Raises `LedgerError` where originals or surrogate are missing, `ShardError`, `SourceError`, `SettingError`.
    """
    if images < 1 or not shards:
        raise SettingError("robustness needs at least one folder of shards and one image")
    out = local_path(out, "out")
    opened = [open_shards(folder) for folder in shards]
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    config = verify_config(choose_preset(preset, runtime), opened[0].size, runtime.precision, settings)
    one_attacker(config, "robustness")
    if len(config.rho_a) != 1:
        raise SettingError("robustness takes one radius; give --rho-a once")
    out.mkdir(parents=True, exist_ok=True)
    study = _Study(runtime, config, images, ResultCache(out / "points.json", "points"), progress)
    points = []
    for number, each in enumerate(opened):
        progress(Event("points", number, len(opened), "points"))
        points.append(study.point(each))
    progress(Event("points", len(opened), len(opened), "points"))
    correlation = {name: pearson(points, name) for name in NAMED}
    result = RobustnessResult(points, correlation, format_radius(config.rho_a[0]), images, to_json(config), str(out))
    _write(result)
    return result


@dataclass(frozen=True)
class _Study:
    """How every point is measured."""

    runtime: Runtime
    config: VerifyConfig
    images: int
    cache: ResultCache
    progress: Progress

    @property
    def adversary(self) -> InnerPerturbation:
        """δᵃ of both definitions."""
        rho_a = self.config.rho_a[0]
        return InnerPerturbation(rho_a, rho_a * self.config.step_share, self.config.steps_a)

    def point(self, shards: Shards) -> RobustnessPoint:
        """The point of finished shards; measured where the cache does not have it."""
        ledger = Ledger(shards.ledger)
        run = ledger.run()
        if not run:
            raise LedgerError(f"the ledger {ledger.path} is gone; it holds the surrogate to be measured")
        protection = from_json(ProtectConfig, run["settings"])
        dataset = load_dataset(shards, required_originals(shards, None), self.config, self.progress)
        trainer = VictimTrainer(self.runtime, self.config, len(shards.classes), self.progress)
        protected, name = dataset.data("protected"), shards.directory.absolute().name

        def measure() -> dict[str, Any]:
            surrogate: float | None = None
            if protection.has_surrogate:
                self.progress(Event("points", message=f"{name}: robustness of the surrogate"))
                model = new_surrogate(protection, len(shards.classes), shards.size, self.runtime)
                model.load_state_dict(load_tensors(ledger.surrogate)[0])
                model = networks_of(model, protection)[-1].model  # the one that reads the noise
                surrogate = self._of_surrogate(model, protection, shards, dataset.data("clean").train)
            return {"surrogate": surrogate, **self._of_noise(name, trainer, protected)}

        attacker = trainer.plain(self.config.rho_a[0])
        key = trainer.key(protected, attacker, self.config.seed, self.images, run["fingerprint"])
        return RobustnessPoint(name, protection.method, protection.steps, **self.cache.get(key, measure))

    def _of_surrogate(
        self, model: nn.Module, protection: ProtectConfig, shards: Shards, clean: LabelledImages
    ) -> float:
        """Definition 1: the surrogate is fixed, new noise is crafted, against δᵃ of the victims' radius."""
        delta = self.adversary
        against = replace(protection, method="cell", rho_a=delta.rho, alpha_a=delta.alpha, steps_a=delta.steps)
        sample = clean[: self.images]
        view, _ = make_view(protection, shards.size)
        network = self.runtime.folded(model)
        measure = SurrogateRobustness(self.runtime, network, view, against, self.config.seed)
        return measure(sample.images, sample.labels, sample.sizes)

    def _of_noise(self, name: str, trainer: VictimTrainer, protected: VictimData) -> dict[str, float]:
        """Definition 2 and F: the noise of the shards is fixed, a new network is trained, which is the victim."""
        rho_a, seed = self.config.rho_a[0], self.config.seed
        phase = f"{name}: victim, {format_radius(rho_a)}"
        victim, _ = trainer.train(phase, protected, trainer.plain(rho_a), seed)
        sample = protected.train[: self.images]
        view, _ = make_view(self.config, (sample.images.shape[2], sample.images.shape[3]))
        network = self.runtime.folded(victim.model)
        loss = AdversarialLoss(self.runtime, network, view, self.adversary, 1, seed)
        noise = noise_robustness(loss, sample.images, sample.labels, sample.sizes)
        return {"noise": noise, "protection": 1 - victim.final}


def pearson(points: Sequence[RobustnessPoint], name: str) -> float | None:
    """Pearson's r of protection with a robustness, `surrogate` or `noise`, over the points that have it; None below
    three points, or where one of both does not vary.
    """
    pairs = [(getattr(p, name), p.protection) for p in points if getattr(p, name) is not None]
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    return statistics.correlation(*zip(*pairs, strict=True))


def _write(result: RobustnessResult) -> None:
    from .plots import scatter_png

    out = Path(result.out)
    content = {
        "schema_version": 1,
        "tool": {"name": "semshard", "version": __version__, "torch": torch.__version__},
        **{name: value for name, value in result.to_json().items() if name != "out"},
    }
    write_json(out / "robustness.json", content)
    names = [f"{point.method}, {point.steps}" for point in result.points]
    panels = []
    for name, title in NAMED.items():
        values = [getattr(point, name) for point in result.points]
        if None not in values:
            panels.append((title, values, result.correlation[name]))
    title = f"protection against ρₐ = {result.rho_a} (method, steps of the surrogate)"
    with atomic_write(out / "robustness.png") as file:
        file.write(scatter_png(panels, [point.protection for point in result.points], names, title))
