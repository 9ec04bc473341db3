"""The story of robustness: shards and their surrogates → Definitions 1 and 2 → protection → how they go together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..engine import Runtime, choose_preset, make_runtime
from ..engine.weights import load_tensors
from ..errors import LedgerError, SettingError
from ..noise import InnerPerturbation, new_surrogate
from ..noise.robustness import of_noise, of_surrogate
from ..noise.views import make_view
from ..progress import Event, Progress, remarks, silent
from ..settings import ProtectConfig, VerifyConfig, format_radius, from_json, to_json, verify_config
from ..shards import Ledger, Shards, ledger_path, open_shards
from ..verification.dataset import VictimDataset, load_split, the_originals
from ..verification.trainer import ResultCache, VictimTrainer, one_attacker
from ..victims import VictimData

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
    For R_θ the surrogate is fixed and noise is made anew, for R_δᵘ the noise is fixed and a network, the victim, is
    trained anew; losses are means over `images` training images. Finished points are kept in `out`.

    Raises `LedgerError` where originals or surrogate are missing, `ShardError`, `SourceError`, `SettingError`.
    """
    if images < 1 or not shards:
        raise SettingError("robustness wants at least one folder of shards and one image")
    opened = [open_shards(folder) for folder in shards]
    size = opened[0].size
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    config = verify_config(preset, size, runtime.precision, settings)
    one_attacker(config, "robustness")
    if len(config.rho_a) != 1:
        raise SettingError("robustness takes one radius; give --rho-a once")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    kept = ResultCache(out / "points.json")
    points = []
    for number, each in enumerate(opened):
        progress(Event("points", number, len(opened), "points"))
        points.append(_point(each, runtime, config, images, kept, progress))
    progress(Event("points", len(opened), len(opened), "points"))
    correlation = {name: _pearson(points, name) for name in NAMED}
    result = RobustnessResult(points, correlation, format_radius(config.rho_a[0]), images, to_json(config), str(out))
    _write(result)
    return result


def _point(
    shards: Shards, runtime: Runtime, config: VerifyConfig, images: int, kept: ResultCache, progress: Progress
) -> RobustnessPoint:
    ledger = Ledger(ledger_path(shards.directory))
    run = ledger.run()
    if not run:
        raise LedgerError(f"the ledger {ledger.path} is gone; it holds the surrogate that robustness is measured of")
    made = from_json(ProtectConfig, run["settings"])
    split = load_split(shards, the_originals(shards, None), config, progress)
    name, rho = shards.directory.absolute().name, config.rho_a[0]

    def measured() -> dict[str, Any]:
        of_network = None
        if made.has_surrogate:
            progress(Event("points", message=f"{name}: robustness of the surrogate"))
            of_network = _surrogate(shards, ledger, runtime, made, config, split, images)
        return {"surrogate": of_network, **_noise(name, examiner, material, images)}

    examiner, material = VictimTrainer(runtime, config, len(shards.classes), progress), split.material("protected")
    key = examiner.key(material, examiner.plain(rho), config.seed, images, run["fingerprint"])
    return RobustnessPoint(name, made.method, made.steps, **kept.get(key, measured))


def _surrogate(
    shards: Shards,
    ledger: Ledger,
    runtime: Runtime,
    made: ProtectConfig,
    config: VerifyConfig,
    split: VictimDataset,
    images: int,
) -> float:
    """Definition 1: the network of the ledger, noise made anew, δᵃ of the victims' radius."""
    model = new_surrogate(made, len(shards.classes), shards.size, runtime)
    model.load_state_dict(load_tensors(ledger.surrogate)[0])
    rho = config.rho_a[0]
    against = replace(made, method="cell", rho_a=rho, alpha_a=rho * config.step_share, steps_a=config.steps_a)
    lesson = split.material("clean").train[:images]
    view = make_view(made, shards.size)[0].on(lesson.sizes)
    return of_surrogate(runtime, model, lesson.images, lesson.labels, view, against, config.seed)


def _noise(name: str, examiner: VictimTrainer, material: VictimData, images: int) -> dict[str, float]:
    """Definition 2 and F: the noise of the shards, a network trained anew, which is the victim."""
    config, rho = examiner.config, examiner.config.rho_a[0]
    phase = f"{name}: victim, {format_radius(rho)}"
    victim, _ = examiner.train(phase, material, examiner.plain(rho), config.seed)
    few, within = material.train[:images], InnerPerturbation(rho, rho * config.step_share, config.steps_a)
    view, _ = make_view(config, (few.images.shape[2], few.images.shape[3]))
    found = of_noise(examiner.runtime, victim.model, few.images, few.labels, view, within, 1, config.seed)
    return {"noise": found, "protection": 1 - victim.final}


def _pearson(points: Sequence[RobustnessPoint], name: str) -> float | None:
    pairs = [(getattr(p, name), p.protection) for p in points if getattr(p, name) is not None]
    if len(pairs) < 3 or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    return statistics.correlation(*zip(*pairs, strict=True))


def _write(result: RobustnessResult) -> None:
    from .plots import scatter_png

    out = Path(result.out)
    about = {
        "schema_version": 1,
        "tool": {"name": "semshard", "version": __version__, "torch": torch.__version__},
        **{name: value for name, value in result.to_json().items() if name != "out"},
    }
    write_json(out / "robustness.json", about)
    names = [f"{point.method}, {point.steps}" for point in result.points]
    panels = []
    for name, title in NAMED.items():
        values = [getattr(point, name) for point in result.points]
        if None not in values:
            panels.append((title, values, result.correlation[name]))
    title = f"protection against ρₐ = {result.rho_a} (method, steps of the surrogate)"
    with atomic_write(out / "robustness.png") as file:
        file.write(scatter_png(panels, [point.protection for point in result.points], names, title))
