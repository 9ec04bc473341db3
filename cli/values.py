"""Values on the command line that are more than one number or text."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from semshard.errors import SettingError
from semshard.settings import parse


def share(text: str) -> float:
    """A share in [0, 1] from "1%", "35 %" or "0.35"."""
    number = text.strip()
    try:
        value = float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise SettingError(f"{text!r} is not a share; write it like 1% or 0.01") from None
    if not 0 <= value <= 1:
        raise SettingError(f"{text!r} lies outside 0 to 1; write it like 1% or 0.01")
    return value


def optional_share(text: str | None) -> float | None:
    """A share, or nothing."""
    return None if text is None else share(text)


def pairs(config: type[Any], texts: list[str] | None) -> dict[str, Any]:
    """Settings of `config` from several "NAME=VALUE"."""
    return {name: parse(config, name, value) for name, value in map(_pair, texts or [])}


def setting_name(text: str) -> str:
    """The name of a setting as the library has it, from "rho-u" or "rho_u"."""
    return text.strip().replace("-", "_")


def rates(text: str | None) -> tuple[float, float] | None:
    """Operations and bytes per second from "788e12,4.3e12"."""
    if text is None:
        return None
    try:
        flop, size = map(float, text.split(","))
    except ValueError:
        raise SettingError(f"{text!r} is not FLOP,BYTES; write it like 788e12,4.3e12") from None
    if not min(flop, size) > 0:
        raise SettingError(f"{text!r}: rates must be above 0")
    return flop, size


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a file, by their names in the library."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not a TOML file: {error}") from None
    return {setting_name(name): value for name, value in values.items()}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SettingError(f"{text!r} is not NAME=VALUE")
    return setting_name(name), value.strip()
