"""The story of sweep: a setting's values → surrogates, as few as will do → shards each → victims → table and plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..atomic import atomic_write, write_json
from ..engine import Runtime, choose_preset, make_runtime
from ..errors import SettingError
from ..progress import Progress, remarks, silent, with_prefix
from ..protection.protect import protect
from ..protection.request import TRAINED_WITH, Request, begin_config
from ..protection.scan import limit_rejects, scan_source
from ..protection.surrogate import train_to
from ..settings import PICTURES, ProtectConfig, VerifyConfig, coerce, fingerprint, format_radius, to_json, verify_config
from ..shards import open_shards
from ..sources import Collection, SourceOptions, check_classes, open_source
from ..verification.dataset import load_split, the_originals
from ..verification.trainer import ResultCache, VictimTrainer, one_attacker

_FIXED = ("preset", "precision", *PICTURES)  # the collection and the victims are made with them


@dataclass(frozen=True)
class Cell:
    """A victim: the swept value (None for clean images), its radius, its figures. Shares in [0, 1]."""

    value: Any
    rho_a: str
    final: float
    best: float
    train: float
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """What came of each value of a setting."""

    setting: str
    values: list[Any]
    cells: list[Cell]
    surrogates: int  # trained; a run contains the shorter ones
    samples: dict[str, int]  # train, test
    chance: float
    settings: dict[str, Any]  # of the first value
    victim: dict[str, Any]
    out: str  # the folder of sweep.json, sweep.png and the shards of each value

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
    progress: Progress = silent,
    **settings: Any,
) -> SweepResult:
    """Protect the images at `source` once for each of the `values` of a `setting` of `ProtectConfig`, train victims
    (settings of `VerifyConfig` in `victim`) on each and on the clean originals, and write a table and a plot.

    Values that leave the training of the surrogate as it is share one, and a training of M steps holds those of fewer
    (Figure 5, Table 6). `draws` sets the draws of the final noise, too, unless `final_draws` is given. What was
    finished is kept in `out`. Clean pixels and ledgers lie there: keep it private. Raises as `protect` and `verify`.
    """
    out = Path(out)
    if setting in _FIXED:
        raise SettingError(f"{setting} cannot be swept: the whole sweep has one")
    known = {name: value for name, value in settings.items() if name != setting}
    several = [_with(known, setting, value) for value in values]
    if not several:
        raise SettingError(f"no values of {setting} are given")
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    options = options or SourceOptions()
    first = Request(preset, None, False, max_rejects, known, options, progress)
    collection = scan_source(open_source(source, options), first, runtime)
    limit_rejects(len(collection.rejects), len(collection.source), max_rejects, "")
    check_classes(collection)
    requests = [replace(first, settings=given, progress=silent) for given in several]
    configs = [begin_config(request, collection.size, runtime) for request in requests]
    recipe = verify_config(preset, collection.size, runtime.precision, victim or {})
    one_attacker(recipe, "sweep")

    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o700)
    surrogates, trained = _surrogates(runtime, collection, configs, out, checkpoint_seconds, progress)
    names = [str(to_json(config)[setting]).replace("/", "_") for config in configs]
    folders = [out / f"{setting}={name}" for name in names]
    for config, folder, given in zip(configs, folders, several, strict=True):
        surrogate = surrogates.get(_key(config))
        protect(
            source, folder, preset=preset, surrogate=surrogate, max_rejects=max_rejects, device=device,
            checkpoint_seconds=checkpoint_seconds, options=options,
            progress=with_prefix(folder.name, progress), **given,
        )  # fmt: skip
    shown = [to_json(config)[setting] for config in configs]
    cells, samples, classes = _cells(folders, shown, runtime, recipe, ResultCache(out / "victims.json"), progress)
    result = SweepResult(
        setting, shown, cells, trained, samples, 1 / classes, to_json(configs[0]), to_json(recipe), str(out)
    )
    _write(result, recipe)
    return result


def _with(known: Mapping[str, Any], setting: str, value: Any) -> dict[str, Any]:
    given = {**known, **coerce(ProtectConfig, {setting: value})}
    return given if setting != "draws" or "final_draws" in known else given | {"final_draws": value}


def _key(config: ProtectConfig) -> str:
    """What a surrogate depends on."""
    settings = to_json(config)
    return fingerprint({name: settings[name] for name in (*TRAINED_WITH, "seed", "precision", "resolution", "rho_u")})


def _surrogates(
    runtime: Runtime,
    collection: Collection,
    configs: Sequence[ProtectConfig],
    out: Path,
    checkpoint_seconds: float,
    progress: Progress,
) -> tuple[dict[str, Path], int]:
    """A surrogate for every config that needs one, by its key; and how many trainings it takes to have them all."""
    runs: dict[str, list[ProtectConfig]] = {}
    for config in configs:
        if config.has_surrogate:
            alone = config.warm_up or config.round_every  # a warm-up and the last cut depend on how long all takes
            shared = config if alone else replace(config, steps=1)
            runs.setdefault(_key(shared), []).append(config)
    paths: dict[str, Path] = {}
    for run in runs.values():
        longest = max(run, key=lambda config: config.steps)
        here = {config.steps: out / f"surrogate-{_key(config)[:12]}.safetensors" for config in run}
        if not all(path.exists() for path in here.values()):
            last = here[longest.steps]
            told = with_prefix(f"surrogate of {longest.steps} steps", progress)
            checkpoint = last.with_suffix(".checkpoint")
            train_to(runtime, collection, longest, last, checkpoint, checkpoint_seconds, told, keep=here)
        paths |= {_key(config): here[config.steps] for config in run}
    return paths, len(runs)


def _cells(
    folders: Sequence[Path],
    values: Sequence[Any],
    runtime: Runtime,
    config: VerifyConfig,
    kept: ResultCache,
    progress: Progress,
) -> tuple[list[Cell], dict[str, int], int]:
    """Victims on the clean images, and on those of each value, for every radius; the split and the classes."""
    cells: dict[tuple[str, str, str], Cell] = {}
    samples, classes = {"train": 0, "test": 0}, 0
    for folder, value in zip(folders, values, strict=True):
        shards = open_shards(folder)
        classes = len(shards.classes)
        split = load_split(shards, the_originals(shards, None), config, with_prefix(folder.name, progress))
        samples = {"train": int(split.train.sum()), "test": int(split.test.sum())}
        examiner = VictimTrainer(runtime, config, classes, progress, folder=kept.path.parent)
        for name, of, kind in (("clean", None, "clean"), (folder.name, value, "protected")):
            material = split.material(kind)
            for rho in config.rho_a:
                text, attacker = format_radius(rho), examiner.plain(rho)
                figures = examiner.figures(kept, f"victim on {name}, {text}", material, attacker)
                cells.setdefault((name, material.digest, text), Cell(of, text, **figures))
    return list(cells.values()), samples, classes


def _write(result: SweepResult, config: VerifyConfig) -> None:
    from .plots import lines_png

    out = Path(result.out)
    write_json(out / "sweep.json", {"schema_version": 1, **{k: v for k, v in result.to_json().items() if k != "out"}})
    lines = []
    for rho in map(format_radius, config.rho_a):
        of = {str(cell.value): cell.final for cell in result.cells if cell.rho_a == rho}
        name = f"ρₐ = {rho}" if rho != "0/255" else "standard training"
        lines.append((name, [of[str(value)] for value in result.values], of.get("None")))
    x = [_number(value) for value in result.values]
    title = f"{result.settings['method'] if result.setting != 'method' else 'all methods'}, {result.setting}"
    with atomic_write(out / "sweep.png") as file:
        file.write(lines_png(title, result.setting, x, lines, result.chance))


def _number(value: Any) -> Any:
    """Radii in grey levels; other values as they are."""
    head, slash, tail = str(value).partition("/")
    return float(head) if slash and tail == "255" else value
