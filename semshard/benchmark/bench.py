"""The story of bench: ceilings of this device → steps beside a plain baseline → methods → data path → memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..engine import choose_preset, make_runtime
from ..errors import SettingError
from ..measuring.ceilings import convolutions, matrix_product
from ..measuring.machine import describe
from ..noise import new_surrogate
from ..noise.methods import METHODS
from ..progress import Event, Progress, remarks, silent
from ..settings import CELL_SETTINGS, NO_LIST, protect_config, to_json, verify_config
from .data_path import data_path, peak_memory
from .methods import MethodTime, method_time
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
    methods: list[MethodTime]
    data_path: dict[str, float]
    peak_memory: dict[int, int]  # bytes, by images

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {
            "steps": [step.to_json() for step in self.steps],
            "methods": [asdict(method) for method in self.methods],
        }


def bench(
    *,
    preset: str = "auto",
    device: str = "auto",
    repeats: int = 3,
    methods: Sequence[str] | None = None,
    pictures: int = 2_000,
    memory_at: tuple[int, ...] = MEMORY_AT,
    progress: Progress = silent,
    **settings: Any,
) -> BenchResult:
    """Measure this machine: the steps of a preset on 32 × 32 images beside the plain baseline, and the data path.

    `settings` are fields of `ProtectConfig`. `methods` are measured, too, all unless given. `pictures` go through the
    data path, 0 leaves it out; peak memory is taken with `memory_at` so many. Times are medians of `repeats` runs,
    taken in turn. Raises `SettingError`.
    """
    if repeats < 1:
        raise SettingError(f"repeats = {repeats} must be at least 1")
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    preset = choose_preset(preset, runtime)
    protect = protect_config(preset, SIZE, runtime.precision, settings)
    if protect.views != ("crop-flip",) or protect.noise_views not in NO_LIST:
        raise SettingError(f"the baseline knows crop-flip views only, not {','.join(protect.views)}")
    chosen = {"rho_a": protect.rho_a, "victim": protect.network}
    verify = verify_config(preset, SIZE, runtime.precision, chosen)
    names = [method.name for method in METHODS] if methods is None else list(methods)
    others = [protect_config(preset, SIZE, runtime.precision, _other(settings, name)) for name in names]
    parts = 3 + len(names) + (1 + len(memory_at) if pictures else 0)

    def done(part: int, what: str) -> None:
        progress(Event("bench", part, parts, "parts", message=what))

    done(0, "ceilings")
    dtype = torch.bfloat16 if runtime.precision == "bfloat16" else torch.float32
    product = matrix_product(runtime.device, dtype, repeats)
    model = new_surrogate(protect, 10, SIZE, runtime)
    ceiling = convolutions(model, SIZE, protect.batch, runtime.device, dtype, repeats)
    done(1, "steps, ours and plain in turn")
    times = list(steps(runtime, protect, verify, SIZE, repeats))
    done(2, "draws together")
    together = folds(runtime, protect, SIZE, repeats)
    measured = []
    for number, config in enumerate(others):
        done(3 + number, f"method {config.method}")
        measured.append(method_time(runtime, config, SIZE, IMAGES, 1))
    done(3 + len(others), "data path")
    return BenchResult(
        hardware=describe(runtime.device),
        settings=to_json(protect),
        matrix_product=product,
        convolutions=ceiling,
        steps=times,
        folds=together,
        methods=measured,
        data_path=data_path(pictures, repeats) if pictures else {},
        peak_memory=_memory(memory_at, done, 4 + len(others)) if pictures else {},
    )


def _other(settings: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The settings of another method: those given, less what names a cell of the grid."""
    return {name: value for name, value in settings.items() if name not in CELL_SETTINGS} | {"method": method}


def _memory(counts: tuple[int, ...], done: Any, first: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for number, count in enumerate(counts):
        done(first + number, f"memory at {count:,} images")
        found |= peak_memory([count])
    done(first + len(counts), "done")
    return found
