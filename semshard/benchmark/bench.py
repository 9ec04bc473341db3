"""The story of bench: ceilings → steps beside a plain baseline → steps beside other programs → methods → photographs →
crafting in processes → data path → memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..cores import allowed
from ..engine import Runtime, choose_preset, make_runtime
from ..errors import SettingError
from ..measuring.ceilings import convolutions, matrix_product
from ..measuring.machine import describe
from ..noise import new_surrogate
from ..noise.methods import METHODS
from ..progress import Event, Progress, remarks, silent
from ..settings import CELL_SETTINGS, NO_LIST, ProtectConfig, VerifyConfig, protect_config, to_json, verify_config
from .crafting import CraftingTime, crafting_times
from .data_path import data_path, peak_memory, peak_memory_of_workers
from .methods import MethodTime, method_time
from .neighbours import NeighbourTime, neighbour_times
from .photographs import SHAPES, PhotographTime, photograph_times
from .steps import StepTime, folds, steps

SIZE = (32, 32)
IMAGES = 50_000  # that a whole run is projected for
MEMORY_AT = (1_000, 20_000)  # images


@dataclass(frozen=True)
class BenchResult:
    """What was measured. Rates are FLOP/s, images/s; times seconds."""

    hardware: dict[str, Any]
    settings: dict[str, Any]
    matrix_product: float
    convolutions: float
    steps: list[StepTime]
    folds: dict[int, float]  # seconds of one gradient of Eq. 10, by draws that go through the network together
    neighbours: list[NeighbourTime]
    methods: list[MethodTime]
    photographs: list[PhotographTime]
    crafting: list[CraftingTime]
    data_path: dict[str, float]
    peak_memory: dict[int, int]  # bytes, by images
    peak_memory_of_worker: dict[int, int]  # the same, of the largest worker process

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {
            "steps": [step.to_json() for step in self.steps],
            "neighbours": [asdict(case) for case in self.neighbours],
            "methods": [asdict(method) for method in self.methods],
            "photographs": [asdict(size) for size in self.photographs],
            "crafting": [asdict(count) for count in self.crafting],
        }


def bench(
    *,
    preset: str = "auto",
    device: str = "auto",
    repeats: int = 3,
    methods: Sequence[str] | None = None,
    neighbours: bool = True,
    pictures: int = 2_000,
    memory_at: tuple[int, ...] = MEMORY_AT,
    progress: Progress = silent,
    **settings: Any,
) -> BenchResult:
    """Measure this machine: the steps of a preset on 32 × 32 images beside the plain baseline, and the data path.

    `settings` are fields of `ProtectConfig`. `methods` are measured, too, all unless given. `neighbours` measures steps
    beside other programs. `pictures` go through the data path; 0 leaves it, crafting in processes and the photographs
    out. Peak memory is measured with `memory_at` pictures. Times are medians of `repeats` runs, taken in turn.

    Other programs and processes share cores, so on a GPU neither is measured. Raises `SettingError`.
    """
    if repeats < 1:
        raise SettingError(f"repeats = {repeats} must be at least 1")
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    config = protect_config(preset, SIZE, runtime.precision, settings)
    if config.views != ("crop-flip",) or config.noise_views not in NO_LIST:
        raise SettingError(f"the baseline knows crop-flip views only, not {','.join(config.views)}")
    names = [method.name for method in METHODS] if methods is None else list(methods)
    others = [protect_config(preset, SIZE, runtime.precision, _other(settings, name)) for name in names]
    neighbours, processes = (wanted and runtime.device.type == "cpu" for wanted in (neighbours, bool(pictures)))
    parts = 3 + len(others) + neighbours + (len(memory_at) + 2) * bool(pictures) + (len(memory_at) + 1) * processes
    announce = _Announcer(progress, parts)
    product, ceiling = _ceilings(runtime, config, repeats, announce)
    chosen = {"rho_a": config.rho_a, "victim": config.network}
    victims = verify_config(preset, SIZE, runtime.precision, chosen)
    announce("steps, ours and plain in turn")
    times = list(steps(runtime, config, victims, SIZE, repeats))
    announce("draws together")
    result = BenchResult(
        hardware=describe(runtime.device),
        settings=to_json(config),
        matrix_product=product,
        convolutions=ceiling,
        steps=times,
        folds=folds(runtime, config, SIZE, repeats),
        neighbours=_neighbours(runtime, config, victims, repeats, announce) if neighbours else [],
        methods=[_method(runtime, other, announce) for other in others],
        photographs=_photographs(runtime, preset, repeats, announce) if pictures else [],
        crafting=_crafting(runtime, config, times, repeats, announce) if processes else [],
        data_path=_data_path(pictures, repeats, announce) if pictures else {},
        peak_memory=_memory(memory_at, 0, announce) if pictures else {},
        peak_memory_of_worker=_memory(memory_at, allowed(), announce) if processes else {},
    )
    announce("done")
    return result


class _Announcer:
    """Tells the caller which of `parts` parts begins."""

    def __init__(self, progress: Progress, parts: int) -> None:
        self._progress, self._parts, self._begun = progress, parts, 0

    def __call__(self, what: str) -> None:
        self._progress(Event("bench", self._begun, self._parts, "parts", message=what))
        self._begun += 1


def _ceilings(runtime: Runtime, config: ProtectConfig, repeats: int, announce: _Announcer) -> tuple[float, float]:
    """FLOP/s of a matrix product, and of the convolutions of the network alone."""
    announce("ceilings")
    dtype = runtime.dtype
    model = new_surrogate(config, 10, SIZE, runtime)
    return (
        matrix_product(runtime.device, dtype, repeats),
        convolutions(model, SIZE, config.batch, runtime.device, dtype, repeats),
    )


def _method(runtime: Runtime, config: ProtectConfig, announce: _Announcer) -> MethodTime:
    announce(f"method {config.method}")
    return method_time(runtime, config, SIZE, IMAGES, 1)


def _photographs(runtime: Runtime, preset: str, repeats: int, announce: _Announcer) -> list[PhotographTime]:
    announce(f"photographs of {len(SHAPES)} sizes")
    return list(photograph_times(runtime, protect_config(preset, None, runtime.precision, {}), repeats))


def _neighbours(
    runtime: Runtime, config: ProtectConfig, victims: VerifyConfig, repeats: int, announce: _Announcer
) -> list[NeighbourTime]:
    announce("steps beside other programs")
    return neighbour_times(runtime, config, victims, SIZE, repeats)


def _crafting(
    runtime: Runtime, config: ProtectConfig, times: Sequence[StepTime], repeats: int, announce: _Announcer
) -> list[CraftingTime]:
    announce("crafting in processes")
    rate = next(step.images_per_second for step in times if step.name == "crafting")
    return crafting_times(runtime, config, SIZE, rate, repeats)


def _data_path(pictures: int, repeats: int, announce: _Announcer) -> dict[str, float]:
    announce("data path")
    return data_path(pictures, repeats)


def _other(settings: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The settings of another method: those given, less what names a cell of the grid."""
    return {name: value for name, value in settings.items() if name not in CELL_SETTINGS} | {"method": method}


def _memory(counts: Sequence[int], workers: int, announce: _Announcer) -> dict[int, int]:
    """Bytes of a process that makes all shards itself, or of the largest of so many workers."""
    peaks: dict[int, int] = {}
    for count in counts:
        announce(f"memory at {count:,} images" + (f", {workers} processes" if workers else ""))
        peaks |= peak_memory_of_workers([count], workers) if workers else peak_memory([count])
    return peaks
