"""The families of views by name, and lists of them: "crop-flip,grey=0.5,jpeg=0.25"."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import SettingError


@dataclass(frozen=True)
class FamilyInfo:
    """A family of views: its name in --views, and what it does to a picture."""

    name: str
    line: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


GEOMETRY = ("crop-flip", "resized-crop")  # a list has exactly one of them, which every picture goes through
FAMILIES = (
    FamilyInfo("crop-flip", "mirrored or not, then a crop of the picture padded with black: the paper's, for CIFAR"),
    FamilyInfo("resized-crop", "a random box, resized and mirrored or not: the paper's, for photographs"),
    FamilyInfo("grey", "three equal channels, the luma of ITU-R BT.601"),
    FamilyInfo("blur", "a Gaussian blur, σ uniform in 0.4 to 1.2 pixels"),
    FamilyInfo("resize", "down to 0.4 to 0.9 of its side and up again"),
    FamilyInfo("jpeg", "JPEG of a quality uniform in 10 to 90, chroma whole (4:4:4) or halved (4:2:0)"),
    FamilyInfo("bits", "2 to 5 bits per channel"),
    FamilyInfo("jitter", "brightness, contrast and saturation each times 0.6 to 1.4"),
    FamilyInfo("cutout", "a grey square of half its side"),
)
NAMES = tuple(family.name for family in FAMILIES)
USUAL = 0.5  # the probability of a family that is named without one


def parse_view(text: str) -> tuple[str, float]:
    """Name and probability of "grey=0.5". Raises `SettingError`."""
    name, given, number = text.partition("=")
    if name not in NAMES:
        raise SettingError(f"views = {name!r} is unknown; choose from: paper, hardened, {', '.join(NAMES)}")
    if name in GEOMETRY:
        if given:
            raise SettingError(f"every picture goes through {name}; it takes no probability")
        return name, 1.0
    try:
        share = float(number) if given else USUAL
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SettingError(f"views = {text!r}: a probability lies in (0, 1], as in {name}=0.5")
    return name, share


def normal(items: Iterable[str], geometry: str) -> tuple[str, ...]:
    """The list in the form that configs keep: the geometry first, the one given where none is named; then the families
    in their order, each with its probability. Raises `SettingError`.
    """
    parsed = [parse_view(item) for item in items]
    names = [name for name, _ in parsed]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SettingError(f"views = {','.join(items)}: {twice} is listed twice")
    crops = [name for name in names if name in GEOMETRY]
    if len(crops) > 1:
        raise SettingError(f"views = {','.join(items)}: choose one of {' and '.join(crops)}")
    rest = tuple(f"{name}={share:g}" for name, share in parsed if name not in GEOMETRY)
    return (*(crops or [geometry]), *rest)
