"""What the caller of protect or train asked for, and the settings that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..engine import Runtime, choose_preset
from ..engine.weights import load_tensors
from ..errors import SettingError
from ..noise.views import make_view
from ..progress import Progress
from ..settings import CELL_SETTINGS, PICTURES, ProtectConfig, Size, coerce, protect_config, to_json
from ..sources import AUTO, Source, SourceOptions
from ..sources.decode import decoding_of

TRAINED_WITH = (
    "network", "steps", "batch", "lr", "lr_every", "momentum", "weight_decay", "label_noise", "warm_up", "round_every",
    "draws", "steps_u", "alpha_u", "rho_a", "steps_a", "alpha_a", "rho_r", "views", "pad", "crop", "jpeg_safe",
    "quality", "method", "noise_step", "model_step", "noise_views",
)  # fmt: skip


_ALWAYS = {"label_noise": 0.0, "warm_up": 0.0, "round_every": 0}  # of surrogates trained before these were settings


@dataclass(frozen=True)
class Request:
    """What the caller asked for, besides source and output."""

    preset: str
    surrogate: str | Path | None
    overwrite: bool
    max_rejects: float
    settings: Mapping[str, Any]
    options: SourceOptions
    progress: Progress

    def pictures(self) -> dict[str, Any]:
        """The settings of how pictures are read and written, those not given as they are by default."""
        return PICTURES | coerce(
            ProtectConfig, {name: self.settings[name] for name in PICTURES if name in self.settings}
        )


GROUPS = 10  # that --labels auto makes where --groups is not given


def check_settings(request: Request, runtime: Runtime) -> None:
    """Raise `SettingError` for settings that are impossible whatever the size of the images, before the long scan."""
    problem, quiet = None, replace(runtime, remark=lambda sentence: None)
    for size in ((32, 32), (256, 256)):
        try:
            begin_config(request, size, quiet)
        except SettingError as error:
            problem = problem or error
        else:
            return
    if problem:
        raise problem


def check_surrogate(request: Request, source: Source) -> None:
    """Raise `SettingError` where a given surrogate knows other classes than the source has, before the long scan."""
    if request.surrogate and source.classes:
        known = load_tensors(Path(request.surrogate))[1].get("classes")
        if known != list(source.classes):
            raise SettingError(
                f"{request.surrogate} was trained for classes {_few(known)}, here it is {_few(list(source.classes))}"
            )


def begin_config(request: Request, size: Size, runtime: Runtime) -> ProtectConfig:
    """The settings of a run: those given, those that a given surrogate was trained with, those of the preset."""
    preset, given = request.preset, dict(request.settings)
    if request.options.labels == AUTO:
        given = {"groups": GROUPS} | given
    elif given.get("groups"):
        raise SettingError("groups is for images without labels; say --labels auto")
    trained: dict[str, Any] = {}
    base: dict[str, Any] = {}
    if request.surrogate:
        about = load_tensors(Path(request.surrogate))[1]
        known = _ALWAYS | about["settings"]
        trained = {name: known[name] for name in TRAINED_WITH}
        preset = about["settings"]["preset"] if preset == "auto" else preset
        if preset == about["settings"]["preset"]:  # hardened views have draws of their own
            base["final_draws"] = about["settings"]["final_draws"]
    preset = choose_preset(preset, runtime)
    cell = ("method", *CELL_SETTINGS)
    asked = any(name in given for name in cell)  # then it is held against the trained one below
    base |= {name: value for name, value in trained.items() if not (asked and name in cell)}
    config = protect_config(preset, size, runtime.precision, base | given)
    make_view(config, size)
    decoding_of(to_json(config))
    if config.grey == "keep" and not config.has_surrogate:
        raise SettingError(f"method {config.method} has no grey noise; leave --grey keep out")
    for name, value in trained.items():
        if name == "quality" and not config.jpeg_safe:
            continue
        if getattr(config, name) != coerce(ProtectConfig, {name: value})[name]:
            raise SettingError(f"{request.surrogate} was trained with {name} = {value}, not {to_json(config)[name]}")
    return config


def _few(value: Any) -> str:
    """A value in an error message: of a long list its first items."""
    return f"{value[:5]} and {len(value) - 5} more" if isinstance(value, list) and len(value) > 5 else str(value)
