"""Radii and step sizes: floats in units of the pixel range [0, 1], written as steps of one grey level, "8/255"."""

from __future__ import annotations

import math

from ..errors import SettingError


def parse_radius(text: str | float) -> float:
    """A radius from "8/255" or "0.031", in [0, 1]. Raises `SettingError` for anything else."""
    try:
        head, slash, tail = str(text).partition("/")
        value = snap(float(head) / float(tail) if slash else float(head))
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"{text!r} is not a valid radius; write it like 8/255 or 0.031") from None
    if not 0 <= value <= 1:
        raise SettingError(f"radius {text} lies outside 0 to 1 (pixel values are scaled to 0..1; write 8/255)")
    return value


def snap(value: float) -> float:
    """The float that "n/255" reads as, where `value` is one up to rounding; otherwise `value`."""
    snapped = round(value * 255, 9) / 255
    return snapped if math.isclose(snapped, value, rel_tol=1e-12) else value


def format_radius(value: float) -> str:
    """`parse_radius` undone: "8/255" where that is exact, otherwise the decimal."""
    text = f"{round(value * 255, 9):g}/255"
    return text if parse_radius(text) == value else repr(value)


def levels(rho: float) -> int:
    """The budget in whole grey levels: the largest integer noise that stays within `rho`."""
    return math.floor(rho * 255 + 1e-6)
