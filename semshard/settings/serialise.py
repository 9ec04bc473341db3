"""Settings as JSON, TOML and command lines have them, and back; the fingerprint.

Radii and step sizes are written as steps of one grey level there: "8/255".
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ..errors import SettingError
from .config import ALL, ProtectConfig, VerifyConfig
from .radii import format_radius, parse_radius

Config = TypeVar("Config", ProtectConfig, VerifyConfig)

_GRID_ONLY = (
    "noise_step", "model_step", "noise_views", "steps_u", "alpha_u", "draws", "rho_r", "rho_a", "steps_a", "alpha_a",
)  # fmt: skip
_NETWORK_ONLY = (
    "network", "steps", "batch", "lr", "lr_every", "momentum", "weight_decay", "label_noise", "warm_up", "round_every",
    "final_draws", "views", "pad", "crop",
)  # fmt: skip
_UNUSED: dict[str, tuple[str, ...]] = {
    "tap": (*_GRID_ONLY, "label_noise", "warm_up", "patch"),
    "ntga": (*_GRID_ONLY, *_NETWORK_ONLY, "patch"),
    "sc": (*_GRID_ONLY, *_NETWORK_ONLY, "final_steps", "final_alpha"),
}


def to_json(config: ProtectConfig | VerifyConfig) -> dict[str, Any]:
    """The config as JSON values, radii as "n/255"."""
    result: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if f.metadata["radius"]:
            value = [format_radius(v) for v in value] if isinstance(value, tuple) else format_radius(value)
        result[f.name] = list(value) if isinstance(value, tuple) else value
    return result


def effective(config: ProtectConfig) -> dict[str, Any]:
    """The settings that its method reads, as JSON values."""
    unused = _UNUSED.get(config.method, ("patch",))
    if config.format != "jpeg" and not config.jpeg_safe:
        unused = (*unused, "quality")
    return {name: value for name, value in to_json(config).items() if name not in unused}


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """`to_json` undone. Raises `SettingError` where names or values do not fit."""
    missing = [f.name for f in fields(cls) if f.name not in values]
    if missing:
        raise SettingError(f"settings are missing: {', '.join(missing)}")
    return cls(**coerce(cls, values))


def fingerprint(*parts: Any) -> str:
    """SHA-256, in hex, of JSON values in canonical form."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def coerce(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values from JSON, TOML or a command line as the fields of `cls` have them. Raises `SettingError`."""
    known = {f.name: f for f in fields(cls)}
    result: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingError(f"setting {name!r} is unknown; known are: {', '.join(known)}")
        f = known[name]
        if str(f.type).startswith("tuple"):
            result[name] = _several(f, value)
        elif f.metadata["radius"]:
            result[name] = parse_radius(value)
        else:
            result[name] = _as(name, str(f.type), value)
    return result


def _several(f: dataclasses.Field[Any], value: Any) -> tuple[Any, ...]:
    """The items of a list, or of a text with commas, each once and in order."""
    items = value if isinstance(value, list | tuple) else [value]
    parts = [part for item in items for part in (item.split(",") if isinstance(item, str) else [item])]
    if f.metadata["radius"]:
        return tuple(dict.fromkeys(map(parse_radius, parts)))
    if f.metadata["choices"] and ALL in parts:
        return tuple(f.metadata["choices"])
    kind = str(f.type).removeprefix("tuple[").removesuffix(", ...]")
    return tuple(dict.fromkeys(_as(f.name, kind, _number(kind, part)) for part in parts))


def _number(kind: str, text: Any) -> Any:
    """The number that a text means; what is none comes back as it is."""
    if isinstance(text, str):
        with contextlib.suppress(ValueError):
            kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _truth}
            return kinds.get(kind, str)(text.strip())
    return text


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else bool(int(text))


def parse(cls: type[Any], name: str, text: str) -> Any:
    """The value that `text` means for the field `name` of `cls`. Raises `SettingError`."""
    kind = next((str(f.type) for f in fields(cls) if f.name == name and not f.metadata["radius"]), "str")
    return coerce(cls, {name: _number(kind, text)})[name]


def _as(name: str, kind: str, value: Any) -> Any:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SettingError(f"{name} = {value!r} is no {kind}")
