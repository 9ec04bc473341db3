"""Settings as JSON, TOML and command lines have them, and back; the fingerprint.

Radii and step sizes are written as steps of one grey level there: "8/255".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import SettingError
from .fields import Setting, declared, names_where
from .method import method_plugin
from .names import ALL, NO_NETWORK
from .protect import ProtectConfig
from .radii import format_radius, parse_radius
from .verify import VerifyConfig

Config = TypeVar("Config", ProtectConfig, VerifyConfig)


def to_json(config: ProtectConfig | VerifyConfig) -> dict[str, Any]:
    """The config as JSON values, radii as "n/255"."""
    result: dict[str, Any] = {}
    for name, one in declared(type(config)).items():
        value = getattr(config, name)
        if one.radius:
            value = [format_radius(v) for v in value] if isinstance(value, tuple) else format_radius(value)
        result[name] = list(value) if isinstance(value, tuple) else value
    return result


def effective(config: ProtectConfig) -> dict[str, Any]:
    """The settings that its method reads, as JSON values."""
    unused = names_where(ProtectConfig, unused_by=config.method)
    if method_plugin(config.method) and not config.has_surrogate:
        unused = tuple(name for name, one in declared(ProtectConfig).items() if set(NO_NETWORK) <= set(one.unused_by))
    if config.format != "jpeg" and not config.jpeg_safe:
        unused = (*unused, "quality")
    return {name: value for name, value in to_json(config).items() if name not in unused}


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """`to_json` undone. Raises `SettingError` where names or values do not fit."""
    missing = [name for name in declared(cls) if name not in values]
    if missing:
        raise SettingError(f"settings are missing: {', '.join(missing)}")
    return cls(**coerce(cls, values))


def fingerprint(*parts: Any) -> str:
    """SHA-256, in hex, of JSON values in canonical form."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def coerce(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values from JSON, TOML or a command line as the fields of `cls` have them. Raises `SettingError`."""
    known = declared(cls)
    result: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise SettingError(f"setting {name!r} is unknown; known are: {', '.join(known)}")
        one = known[name]
        if one.several:
            result[name] = _several(one, value)
        else:
            result[name] = parse_radius(value) if one.radius else _checked(one, value)
    return result


def parse(cls: type[Any], name: str, text: str) -> Any:
    """The value that `text` means for the field `name` of `cls`. Raises `SettingError`."""
    one = declared(cls).get(name)
    plain = one is not None and not one.radius and not one.several
    return coerce(cls, {name: _number(one.kind, text) if one is not None and plain else text})[name]


def _several(one: Setting, value: Any) -> tuple[Any, ...]:
    """The items of a list, or of a text with commas, each once and in order."""
    items = value if isinstance(value, list | tuple) else [value]
    parts = [part for item in items for part in (item.split(",") if isinstance(item, str) else [item])]
    if one.radius:
        return tuple(dict.fromkeys(map(parse_radius, parts)))
    if one.choices and ALL in parts:
        return one.choices
    return tuple(dict.fromkeys(_checked(one, _number(one.kind, part)) for part in parts))


def _number(kind: str, text: Any) -> Any:
    """The number that a text means; what is not one comes back as it is."""
    if isinstance(text, str):
        with contextlib.suppress(ValueError):
            kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _truth}
            return kinds.get(kind, str)(text.strip())
    return text


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text] if text in ("true", "false") else bool(int(text))


_KINDS = {"bool": "true or false", "str": "a text", "float": "a number", "int": "a whole number"}


def _checked(one: Setting, value: Any) -> Any:
    """The value as its field has it: a whole number is also a float. Raises `SettingError` for another type."""
    if one.kind == "bool" and isinstance(value, bool):
        return value
    if one.kind == "str" and isinstance(value, str):
        return value
    if one.kind == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if one.kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise SettingError(f"{one.name} = {value!r} is not {_KINDS[one.kind]}")
