"""Every setting of a run, in two frozen dataclasses; presets; the JSON form; the fingerprint.

Radii and step sizes are floats in units of the pixel range [0, 1]. On the command line, in TOML and in JSON they
are written as steps of one grey level: "8/255".
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from .errors import SettingError

LARGE = 64  # pixels: a collection whose longer side is above this is treated like photographs


def setting(help: str, *, radius: bool = False, choices: tuple[str, ...] = ()) -> Any:
    """A field of a config that the command line turns into an option."""
    return dataclasses.field(metadata={"help": help, "radius": radius, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class ProtectConfig:
    """All that decides the bytes of a protected collection, besides the images themselves."""

    preset: str = setting("Where unset settings come from.", choices=("paper", "quick"))
    method: str = setting("Kind of defensive noise.", choices=("sem",))
    network: str = setting("Surrogate network.", choices=("resnet18", "small"))
    steps: int = setting("Training steps M of the surrogate.")
    batch: int = setting("Images a training step.")
    lr: float = setting("Learning rate of the surrogate.")
    lr_every: int = setting("The learning rate is divided by ten every so many steps.")
    momentum: float = setting("SGD momentum.")
    weight_decay: float = setting("SGD weight decay.")
    rho_u: float = setting("Radius of the defensive noise: the budget.", radius=True)
    steps_u: int = setting("PGD steps K_u of the defensive noise.")
    alpha_u: float = setting("PGD step size of the defensive noise; follows --rho-u.", radius=True)
    draws: int = setting("Draws J of view and random perturbation averaged in a noise step.")
    final_steps: int = setting("PGD steps K_u of the final noise, crafted with the trained surrogate.")
    final_alpha: float = setting("PGD step size of the final noise; follows --rho-u.", radius=True)
    final_draws: int = setting("Draws J of the final noise.")
    rho_r: float = setting("Radius of the random perturbation; follows --rho-a.", radius=True)
    rho_a: float = setting("Radius of the adversary that the noise shall withstand.", radius=True)
    steps_a: int = setting("PGD steps K_a of the adversary.")
    alpha_a: float = setting("PGD step size of the adversary; follows --rho-a.", radius=True)
    views: str = setting("Transformation distribution T.", choices=("crop-flip", "resized-crop"))
    pad: int = setting("Zero padding of crop-flip, in pixels.")
    crop: int = setting("Side of the resized crop, in pixels.")
    resolution: int = setting("Resize the short side to this and crop the centre square; 0 keeps every pixel.")
    shard_size: int = setting("Samples a shard.")
    craft_batch: int = setting("Images crafted together; a batch never crosses a shard.")
    seed: int = setting("Seed of every random draw; choose your own. It is kept in the private ledger only.")
    precision: str = setting("Arithmetic inside the networks.", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        _check(self)

    def final(self) -> ProtectConfig:
        """The same settings with those of the final noise where a training step takes its own."""
        steps, alpha, draws = self.final_steps, self.final_alpha, self.final_draws
        return dataclasses.replace(self, steps_u=steps, alpha_u=alpha, draws=draws)


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """All that decides how victims are trained and tested."""

    preset: str = setting("Where unset settings come from.", choices=("paper", "quick"))
    network: str = setting("Victim network.", choices=("resnet18", "small"))
    rho_a: tuple[float, ...] = setting(
        "Radius of adversarial training; repeat it, or separate by commas, for several. 0 is standard training.",
        radius=True,
    )
    steps: int = setting("Training steps of a victim.")
    batch: int = setting("Images a training step.")
    lr: float = setting("Learning rate of a victim.")
    lr_every: int = setting("The learning rate is divided by ten every so many steps.")
    momentum: float = setting("SGD momentum.")
    weight_decay: float = setting("SGD weight decay.")
    steps_a: int = setting("PGD steps of the adversary.")
    step_share: float = setting("PGD step size of the adversary, as a share of its radius.")
    views: str = setting("Training augmentation.", choices=("crop-flip", "resized-crop"))
    pad: int = setting("Zero padding of crop-flip, in pixels.")
    crop: int = setting("Side of the resized crop, in pixels.")
    holdout: float = setting("Share of the samples held out of every training, chosen by a hash of the key.")
    max_samples: int = setting("Use at most this many samples, chosen by a hash of the key; 0 uses all.")
    evaluations: int = setting("How often the test accuracy is taken during a training.")
    seed: int = setting("Seed of initial weights, batches, views and the control noise.")
    precision: str = setting("Arithmetic inside the networks.", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        _check(self)


Config = TypeVar("Config", ProtectConfig, VerifyConfig)

# --- presets ---------------------------------------------------------------------------------------------------
# "paper" is the setting of the SEM paper and of its authors' code, for CIFAR (small) and its ImageNet subset
# (large). "quick" is ours: a small network and few steps, so that two CPU cores finish in minutes.

_OPTIMISER = {"batch": 128, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
_SMALL_VIEWS = {"views": "crop-flip", "pad": 4, "crop": 0}

_PROTECT: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "resnet18", "steps": 5000, "lr_every": 2000, "draws": 5,
        "rho_u": 8 / 255, "steps_u": 10, "alpha_u": 1.6 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 5,
        "rho_a": 4 / 255, "steps_a": 10, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("paper", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 224,
        "network": "resnet18", "steps": 3000, "lr_every": 1200, "draws": 4,
        "rho_u": 8 / 255, "steps_u": 7, "alpha_u": 2 / 255,
        "final_steps": 7, "final_alpha": 2 / 255, "final_draws": 4,
        "rho_a": 4 / 255, "steps_a": 7, "alpha_a": 1 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("quick", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "small", "batch": 64, "steps": 400, "lr_every": 160, "draws": 1,
        "rho_u": 8 / 255, "steps_u": 5, "alpha_u": 3.2 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 2,
        "rho_a": 4 / 255, "steps_a": 5, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 128,
    },
    ("quick", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 64,
        "network": "small", "batch": 64, "steps": 400, "lr_every": 160, "draws": 1,
        "rho_u": 8 / 255, "steps_u": 5, "alpha_u": 3.2 / 255,
        "final_steps": 10, "final_alpha": 1.6 / 255, "final_draws": 2,
        "rho_a": 4 / 255, "steps_a": 5, "alpha_a": 0.8 / 255, "rho_r": 4 / 255,
        "craft_batch": 64,
    },
}  # fmt: skip

_VERIFY: dict[tuple[str, str], dict[str, Any]] = {
    ("paper", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "resnet18", "steps": 40_000, "lr_every": 16_000,
        "steps_a": 10, "step_share": 1 / 5, "evaluations": 40, "max_samples": 0,
    },
    ("paper", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 224, "network": "resnet18",
        "steps": 40_000, "lr_every": 16_000,
        "steps_a": 8, "step_share": 1 / 4, "evaluations": 40, "max_samples": 0,
    },
    ("quick", "small"): {
        **_OPTIMISER, **_SMALL_VIEWS, "network": "small", "steps": 640, "lr_every": 320,
        "steps_a": 5, "step_share": 1 / 4, "evaluations": 20, "max_samples": 20_000,
    },
    ("quick", "large"): {
        **_OPTIMISER, "views": "resized-crop", "pad": 0, "crop": 64, "network": "small",
        "steps": 640, "lr_every": 320,
        "steps_a": 5, "step_share": 1 / 4, "evaluations": 20, "max_samples": 5_000,
    },
}  # fmt: skip


def protect_config(preset: str, size: tuple[int, int], precision: str, given: Mapping[str, Any]) -> ProtectConfig:
    """The settings of a protect run: the preset for images of `size` (height, width), then what was `given`.

    A step size or `rho_r` that was not given keeps its share of the radius it belongs to.
    Raises `SettingError` for an unknown name or an impossible value.
    """
    base = _preset(_PROTECT, preset, size) | {
        "preset": preset, "method": "sem", "resolution": 0, "shard_size": 1000, "seed": 0, "precision": precision,
    }  # fmt: skip
    given = _typed(ProtectConfig, given)
    for radius, follower in (("rho_u", "alpha_u"), ("rho_u", "final_alpha"), ("rho_a", "alpha_a"), ("rho_a", "rho_r")):
        if radius in given and follower not in given:
            base[follower] = snap(base[follower] * given[radius] / base[radius])
    return ProtectConfig(**(base | given))


def verify_config(preset: str, size: tuple[int, int], precision: str, given: Mapping[str, Any]) -> VerifyConfig:
    """The settings of a verify run: the preset for images of `size` (height, width), then what was `given`.

    Raises `SettingError` for an unknown name or an impossible value.
    """
    base = _preset(_VERIFY, preset, size) | {
        "preset": preset, "rho_a": (4 / 255,), "holdout": 0.15, "seed": 0, "precision": precision,
    }  # fmt: skip
    return VerifyConfig(**(base | _typed(VerifyConfig, given)))


def _preset(table: dict[tuple[str, str], dict[str, Any]], preset: str, size: tuple[int, int]) -> dict[str, Any]:
    kind = "large" if max(size) > LARGE else "small"
    try:
        return dict(table[preset, kind])
    except KeyError:
        known = ", ".join(sorted({name for name, _ in table}))
        raise SettingError(f"preset {preset!r} is unknown; choose one of: {known}") from None


# --- radii -----------------------------------------------------------------------------------------------------


def parse_radius(text: str | float) -> float:
    """A radius from "8/255" or "0.031", in [0, 1]. Raises `SettingError` for anything else."""
    try:
        head, slash, tail = str(text).partition("/")
        value = snap(float(head) / float(tail) if slash else float(head))
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"{text!r} is no radius; write it like 8/255 or 0.031") from None
    if not 0 <= value <= 1:
        raise SettingError(f"radius {text} lies outside 0 to 1 (pixel values are scaled to 0..1; write 8/255)")
    return value


def snap(value: float) -> float:
    """The float that "n/255" reads as, where `value` is one up to rounding; otherwise `value`."""
    levels = round(value * 255, 9)
    snapped = levels / 255
    return snapped if math.isclose(snapped, value, rel_tol=1e-12) else value


def format_radius(value: float) -> str:
    """`parse_radius` undone: "8/255" where that is exact, otherwise the decimal."""
    text = f"{round(value * 255, 9):g}/255"
    return text if parse_radius(text) == value else repr(value)


def levels(rho: float) -> int:
    """The budget in whole grey levels: the largest integer noise that stays within `rho`."""
    return math.floor(rho * 255 + 1e-6)


# --- JSON, TOML and command-line forms -------------------------------------------------------------------------


def to_json(config: ProtectConfig | VerifyConfig) -> dict[str, Any]:
    """The config as JSON values, radii as "n/255"."""
    result: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata["radius"]:
            value = [format_radius(v) for v in value] if isinstance(value, tuple) else format_radius(value)
        result[f.name] = value
    return result


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """`to_json` undone. Raises `SettingError` where names or values do not fit."""
    missing = [f.name for f in fields(cls) if f.name not in values]
    if missing:
        raise SettingError(f"settings are missing: {', '.join(missing)}")
    return cls(**_typed(cls, values))


def fingerprint(*parts: Any) -> str:
    """SHA-256, in hex, of JSON values in canonical form."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _typed(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name: f for f in fields(cls)}
    result: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingError(f"setting {name!r} is unknown; known are: {', '.join(known)}")
        f = known[name]
        if f.type == "tuple[float, ...]":
            items = value if isinstance(value, list | tuple) else [value]
            texts = [part for item in items for part in (item.split(",") if isinstance(item, str) else [item])]
            result[name] = tuple(dict.fromkeys(parse_radius(text) for text in texts))
        elif f.metadata["radius"]:
            result[name] = parse_radius(value)
        else:
            result[name] = _as(name, str(f.type), value)
    return result


def _as(name: str, kind: str, value: Any) -> Any:
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SettingError(f"{name} = {value!r} is no {kind}")


_AT_LEAST_ONE = (
    "steps",
    "batch",
    "lr_every",
    "steps_u",
    "draws",
    "final_steps",
    "final_draws",
    "shard_size",
    "craft_batch",
    "evaluations",
)
_AT_LEAST_ZERO = ("pad", "crop", "resolution", "seed", "momentum", "weight_decay", "max_samples", "steps_a", "lr")


def _check(config: ProtectConfig | VerifyConfig) -> None:
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata["choices"] and value not in f.metadata["choices"]:
            raise SettingError(f"{f.name} = {value!r} is unknown; choose one of: {', '.join(f.metadata['choices'])}")
        for low, names in ((1, _AT_LEAST_ONE), (0, _AT_LEAST_ZERO)):
            if f.name in names and value < low:
                raise SettingError(f"{f.name} = {value} must be at least {low}")
    if config.views == "resized-crop" and config.crop < 8:
        raise SettingError(f"crop = {config.crop} must be at least 8 pixels with resized-crop views")
    if isinstance(config, ProtectConfig):
        if levels(config.rho_u) < 1:
            raise SettingError(f"rho_u = {format_radius(config.rho_u)} is below one grey level (1/255)")
        if config.shard_size > 100_000:
            raise SettingError(f"shard_size = {config.shard_size} is above 100000, the most a key can count")
    else:
        if not config.rho_a:
            raise SettingError("rho_a is empty")
        if not 0 < config.holdout < 1:
            raise SettingError(f"holdout = {config.holdout} must lie between 0 and 1")
        if not 0 < config.step_share <= 1:
            raise SettingError(f"step_share = {config.step_share} must lie in (0, 1]")
