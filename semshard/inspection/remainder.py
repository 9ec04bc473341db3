"""What simple filters leave of the noise: a prediction of what an attacker undoes without training anything.

Greyscale, means of 3 × 3 pixels, a Gaussian, down and up again, and JPEG of quality 10 are applied to an original and
to its protected form. A pixel whose change still exceeds the adversary's radius carries noise that such an adversary
cannot undo. Where hardly any is left, adversarial training behind that filter undoes the rest. The reverse is not
promised: noise that is left need not mislead a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .. import filters
from ..settings import parse_radius

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
FILTERS: dict[str, filters.Filter] = {
    "none": lambda picture: picture,
    "grey": filters.grey,
    "mean": filters.mean,
    "gaussian": filters.gaussian,
    "resize": filters.resize,
    "jpeg-10": filters.jpeg(10),
}
_WORDS = {
    "grey": "greyscale", "mean": "3 × 3 means", "gaussian": "a Gaussian filter", "resize": "halving and enlarging",
    "jpeg-10": "JPEG 10",
}  # fmt: skip
MOST = 2000  # samples that are measured
WINDOW = 256  # pixels a side: of photographs their middle is enough
_BLOCK = 16  # pixels a side of what JPEG compresses together


class Remainder:
    """The mean over samples of the share of pixels whose change exceeds a radius, after each filter."""

    def __init__(self, settings: Mapping[str, Any], samples: int) -> None:
        self.radius = radius_of(settings)
        self._every, self._measured = max(1, -(-samples // MOST)), 0
        self._sums = np.zeros(len(FILTERS))

    def add(self, clean: Pixels, protected: Pixels, number: int) -> None:
        """Sample `number` of them and its original; of many, every n-th is measured."""
        if number % self._every == 0:
            self._measured += 1
            self._sums += [share_left(filter, clean, protected, 255 * self.radius) for filter in FILTERS.values()]

    def merge(self, other: Remainder) -> None:
        """Take in what was measured of other samples."""
        self._measured += other._measured
        self._sums += other._sums

    def to_json(self) -> dict[str, Any] | None:
        """Radius in grey levels, number of samples, share after each filter; None where nothing was measured."""
        if not self._measured:
            return None
        shares = (self._sums / self._measured).round(4).tolist()
        levels = round(255 * self.radius, 4)
        return {"radius": levels, "samples": self._measured, "share": dict(zip(FILTERS, shares, strict=True))}


def sentence(remainder: Mapping[str, Any]) -> str:
    """What `Remainder.to_json` says, in words."""
    share = remainder["share"]
    after = ", ".join(f"{words} {share[name]:.1%}" for name, words in _WORDS.items())
    return (
        f"Changed by more than {remainder['radius']:g} grey levels, the adversary's radius: {share['none']:.1%} of the "
        f"pixels; after {after}. Where few are left, expect the noise to fail against that filter; where many are "
        "left, nothing is promised."
    )


def radius_of(settings: Mapping[str, Any]) -> float:
    """The adversary's radius that the noise was made against; half the budget where its method knows none."""
    stated = settings.get("rho_a")
    return parse_radius(stated) if stated else parse_radius(settings["rho_u"]) / 2


def share_left(filter: filters.Filter, clean: Pixels, protected: Pixels, levels: float) -> float:
    """Share of the pixels of which some channel differs by more than `levels` grey levels after the filter."""
    change = cv2.absdiff(filter(_middle(clean)), filter(_middle(protected)))
    return float((np.asarray(change).max(2) > levels + 1e-6).mean())


def _middle(picture: Pixels) -> Pixels:
    """The middle of a picture, cut where JPEG's blocks begin."""
    top, left = (max(0, side - WINDOW) // 2 // _BLOCK * _BLOCK for side in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + WINDOW, left : left + WINDOW])
