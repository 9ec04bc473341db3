"""The story of sweep: a setting's values → surrogates, as few as possible → shards each → victims → table and plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, write_json
from ..engine import Runtime, choose_preset
from ..errors import SettingError
from ..progress import Progress, silent, with_prefix
from ..protection.request import Request
from ..protection.surrogate import SurrogateFiles
from ..settings import (
    FIXED_IN_SWEEP,
    SHAPES_SURROGATE,
    ProtectConfig,
    VerifyConfig,
    coerce,
    fingerprint,
    format_radius,
    to_json,
    verify_config,
)
from ..shards import open_shards
from ..sources import SourceOptions
from ..storage import local_path
from ..verification.cache import ResultCache
from ..verification.grid import VictimTask
from ..verification.load import load_dataset, required_originals
from ..verification.parallel import train_all, works_of
from ..verification.results import VictimOutcome
from ..verification.trainer import VictimTrainer, one_attacker
from ..verification.victim_work import VictimWork
from ..workers import WorkerOptions, one_cluster
from .shared_scan import SharedScan


@dataclass(frozen=True)
class SweepPoint:
    """A victim: the swept value (None for clean images), its radius, its figures. Shares in [0, 1]."""

    value: Any
    rho_a: str
    final: float
    best: float
    train: float
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """The accuracy of victims for each value of a setting."""

    setting: str
    values: list[Any]
    cells: list[SweepPoint]
    surrogates: int  # trained; a run contains the shorter ones
    samples: dict[str, int]  # train, test
    chance: float
    settings: dict[str, Any]  # of the first value
    victim: dict[str, Any]
    out: str  # the folder of sweep.json, sweep.png and the shards of each value

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SweepRequest:
    """The arguments of a sweep; `protection` holds everything but the swept setting."""

    protection: Request
    setting: str
    values: Sequence[Any]
    victim: Mapping[str, Any]

    def each(self) -> list[Request]:
        """The protection for each value. Raises `SettingError` where there is none, or where the sweep is impossible.

        `draws` sets the draws of the final noise, too, unless `final_draws` is given.
        """
        if self.setting in FIXED_IN_SWEEP:
            raise SettingError(f"{self.setting} cannot be swept: all protections of a sweep share it")
        coerced = [coerce(ProtectConfig, {self.setting: value}) for value in self.values]
        if not coerced:
            raise SettingError(f"no values of {self.setting} are given")
        fixed = self.protection.settings
        if self.setting == "draws" and "final_draws" not in fixed:
            coerced = [{**value, "final_draws": value["draws"]} for value in coerced]
        return [replace(self.protection, settings={**fixed, **value}) for value in coerced]


@dataclass(frozen=True)
class _Variant:
    """The protection for one value."""

    request: Request
    config: ProtectConfig
    shown: Any  # the value as JSON has it
    folder: Path


def sweep(
    source: str | Path,
    out: str | Path,
    setting: str,
    values: Sequence[Any],
    *,
    preset: str = "auto",
    victim: Mapping[str, Any] | None = None,
    max_rejects: float = 0.01,
    device: str = "auto",
    checkpoint_seconds: float = 20,
    options: SourceOptions | None = None,
    workers: WorkerOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> SweepResult:
    """Protect the images at `source` once for each of the `values` of a `setting` of `ProtectConfig`, train victims
    (settings of `VerifyConfig` in `victim`) on each and on the clean originals, and write a table and a plot.

    Values that do not change the training of the surrogate share one, and a training of M steps contains those of
    fewer (Figure 5, Table 6). `draws` sets the draws of the final noise, too, unless `final_draws` is given. Finished
    work is kept in `out`, together with clean pixels and ledgers: keep it private. So many `workers` as are given make
    the shards of a value, and train the victims of all values at once, with the same result. Raises as `protect` and
    `verify`.
    """
    protection = Request(
        source, preset, max_rejects=max_rejects, device=device, checkpoint_seconds=checkpoint_seconds,
        options=options or SourceOptions(), progress=progress, workers=workers or WorkerOptions(),
        settings={name: value for name, value in settings.items() if name != setting},
    )  # fmt: skip
    return run_sweep(SweepRequest(protection, setting, values, victim or {}), local_path(out, "out"))


def run_sweep(request: SweepRequest, out: Path, scan: SharedScan | None = None) -> SweepResult:
    """`sweep`, with a `scan` that others share, of the same source with the same picture settings."""
    request.each()  # raises before the long scan
    request.protection.workers.refuse_mixed("a sweep")
    with one_cluster(request.protection.workers):
        return _run_sweep(request, out, scan)


def _run_sweep(request: SweepRequest, out: Path, scan: SharedScan | None) -> SweepResult:
    runtime = request.protection.runtime()
    preset = choose_preset(request.protection.preset, runtime)
    request = replace(request, protection=replace(request.protection, preset=preset))
    scan = scan or SharedScan(request.protection, runtime)
    variants = _variants(request, scan, out)
    recipe = verify_config(preset, scan.collection.size, runtime.precision, request.victim)
    one_attacker(recipe, "sweep")

    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    surrogates, trainings = _train_surrogates(variants, scan, out)
    for variant in variants:
        surrogate = surrogates.get(_training_key(variant.config))
        progress = with_prefix(variant.folder.name, request.protection.progress)
        scan.protect(replace(variant.request, surrogate=surrogate, progress=progress), variant.folder)
    points, samples = _train_victims(variants, runtime, recipe, out, request.protection)
    result = SweepResult(
        request.setting, [variant.shown for variant in variants], points, trainings, samples,
        1 / len(scan.collection.classes), to_json(variants[0].config), to_json(recipe), str(out),
    )  # fmt: skip
    _write(result, recipe)
    return result


def _variants(request: SweepRequest, scan: SharedScan, out: Path) -> list[_Variant]:
    """The protection for each value, in full."""
    variants = []
    for protection in request.each():
        config = scan.config(protection)
        shown = to_json(config)[request.setting]
        folder = out / f"{request.setting}={str(shown).replace('/', '_')}"
        variants.append(_Variant(protection, config, shown, folder))
    return variants


def _training_key(config: ProtectConfig) -> str:
    """A fingerprint of everything that a surrogate depends on."""
    settings = to_json(config)
    return fingerprint({name: settings[name] for name in SHAPES_SURROGATE})


def _train_surrogates(variants: Sequence[_Variant], scan: SharedScan, out: Path) -> tuple[dict[str, Path], int]:
    """A surrogate for every variant that needs one, by its key; and how many trainings it takes to have them all."""
    trainings: dict[str, list[_Variant]] = {}
    for variant in variants:
        config = variant.config
        if config.has_surrogate:
            # a warm-up and the last rounding depend on the whole length, and of two networks the first one is not all
            alone = config.warm_up or config.round_every or config.push_steps
            shared = config if alone else replace(config, steps=1)
            trainings.setdefault(_training_key(shared), []).append(variant)
    paths: dict[str, Path] = {}
    for training in trainings.values():
        keys = {variant.config.steps: _training_key(variant.config) for variant in training}
        keep = {steps: out / f"surrogate-{key[:12]}.safetensors" for steps, key in keys.items()}
        if not all(path.exists() for path in keep.values()):
            _train_once(max(training, key=lambda variant: variant.config.steps), keep, scan)
        paths |= {key: keep[steps] for steps, key in keys.items()}
    return paths, len(trainings)


def _train_once(longest: _Variant, keep: Mapping[int, Path], scan: SharedScan) -> None:
    """One training, which passes through the shorter ones: the surrogate after each of the steps in `keep`."""
    request, steps = longest.request, longest.config.steps
    files = SurrogateFiles(keep[steps], keep[steps].with_suffix(".checkpoint"), request.checkpoint_seconds, keep)
    scan.train(longest.config, files, with_prefix(f"surrogate of {steps} steps", request.progress))


def _train_victims(
    variants: Sequence[_Variant], runtime: Runtime, recipe: VerifyConfig, out: Path, request: Request
) -> tuple[list[SweepPoint], dict[str, int]]:
    """Victims on the clean images, and on those of each variant, for every radius; and how many samples they had."""
    options, progress, samples = request.workers, request.progress, {"train": 0, "test": 0}
    cache, reached = ResultCache(out / "victims.json"), dict[VictimWork, VictimOutcome]()
    works: dict[VictimWork, tuple[str, Any]] = {}  # and the name and the value of what it trains on
    for variant in variants:
        name, shards = variant.folder.name, open_shards(variant.folder)
        dataset = load_dataset(shards, required_originals(shards, None), recipe, with_prefix(name, progress))
        samples = {"train": int(dataset.train.sum()), "test": int(dataset.test.sum())}
        trainer = VictimTrainer(runtime, recipe, len(shards.classes), progress, folder=out, cache=cache)
        trained_on = {"clean": ("clean", None), "protected": (name, variant.shown)}
        tasks = [VictimTask(trainer.plain(rho), kind, recipe.seed) for kind in trained_on for rho in recipe.rho_a]
        names = [f"victim on {trained_on[task.kind][0]}, {format_radius(task.attacker.rho_a)}" for task in tasks]
        own = {
            work: trained_on[work.task.kind]
            for work in works_of(dataset, trainer, tasks, names, here=not options.together)
        }
        works |= own
        if not options.together:
            reached |= train_all(list(own), trainer, options)
    if options.together:
        reached |= train_all(list(works), trainer, options)
    points: dict[tuple[str, str], SweepPoint] = {}
    for work, (name, value) in works.items():
        at, radius = reached[work], format_radius(work.task.attacker.rho_a)
        points.setdefault((name, work.key), SweepPoint(value, radius, at.final, at.best, at.train, at.seconds))
    return list(points.values()), samples


def _write(result: SweepResult, recipe: VerifyConfig) -> None:
    """The table as JSON, and the plot."""
    from .plots import lines_png

    out = Path(result.out)
    write_json(out / "sweep.json", {"schema_version": 1, **{k: v for k, v in result.to_json().items() if k != "out"}})
    lines = []
    for radius in map(format_radius, recipe.rho_a):
        final = {str(point.value): point.final for point in result.cells if point.rho_a == radius}
        name = f"ρₐ = {radius}" if radius != "0/255" else "standard training"
        lines.append((name, [final[str(value)] for value in result.values], final.get("None")))
    x = [_plotted(value) for value in result.values]
    title = f"{result.settings['method'] if result.setting != 'method' else 'all methods'}, {result.setting}"
    with atomic_write(out / "sweep.png") as file:
        file.write(lines_png(title, result.setting, x, lines, result.chance))


def _plotted(value: Any) -> Any:
    """Radii in grey levels; other values as they are."""
    head, slash, tail = str(value).partition("/")
    return float(head) if slash and tail == "255" else value
