"""What accuracies mean: 95 % intervals, a word and a sentence for every attacker, and the strongest of them.

The word follows the share of what the originals teach, above what nobody needs the collection for, that the shards
still teach: (shards − base) / (originals − base), of best test accuracies, means over the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

Word = Literal["protects", "weakens", "does not protect", "cannot tell"]

PROTECTS, WEAKENS = 1 / 3, 2 / 3  # shares below which
TELLS = 0.1  # how far above chance a victim on the originals must come
RULE = (
    "An attacker is compared with the same attacker on the originals, by the best test accuracy on the way, mean over "
    "the seeds. Of what the originals teach above the base (chance, or the largest class, or the unprotected part of "
    "the collection alone), the shards protect if they still teach less than a third, weaken if less than two thirds, "
    "and do not protect otherwise. It cannot be told where the originals teach less than ten points above chance or "
    "the largest class, or where the 95 % intervals of originals and base meet."
)
_T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # Student's t, 97.5 %, for 2 to 10 seeds
_Z95 = 1.96


def interval(accuracies: Sequence[float], images: int) -> tuple[float, float]:
    """The 95 % interval of a mean accuracy over seeds: Wilson's for that many test images, widened in quadrature by
    Student's for the spread of the seeds.
    """
    mean = statistics.fmean(accuracies)
    scale = 1 + _Z95**2 / images
    centre = (mean + _Z95**2 / (2 * images)) / scale
    half = _Z95 * math.sqrt(mean * (1 - mean) / images + (_Z95 / (2 * images)) ** 2) / scale
    low, high = centre - half, centre + half
    if len(accuracies) > 1:
        t = _T95[min(len(accuracies) - 2, len(_T95) - 1)]
        spread = t * statistics.stdev(accuracies) / math.sqrt(len(accuracies))
        low, high = mean - math.hypot(mean - low, spread), mean + math.hypot(high - mean, spread)
    return round(max(0.0, low), 4), round(min(1.0, high), 4)


def taught(best: Mapping[str, float], base: float, clean_low: float, base_high: float) -> float | None:
    """The share of what the originals teach above `base` that the shards still teach; None where it cannot be told.

    `best` are accuracies in [0, 1] by data: clean, protected, and rest where only a part was protected. `clean_low` and
    `base_high` are the ends of the 95 % intervals of the originals and of the base that face each other.
    """
    above = best["clean"] - base
    if clean_low <= base_high or ("rest" not in best and above < TELLS):
        return None
    return (best["protected"] - base) / above


def word(share: float | None) -> Word:
    """The rule."""
    if share is None:
        return "cannot tell"
    return "protects" if share < PROTECTS else "weakens" if share < WEAKENS else "does not protect"


_MEANS: dict[Word, str] = {
    "protects": "the shards protect against it",
    "weakens": "the shards weaken it, but they do teach",
    "does not protect": "the shards do not protect against it",
    "cannot tell": "too little more is learned from the originals to tell, with so many test images",
}


def sentence(name: str, best: Mapping[str, float], base: float, found: Word) -> str:
    """The accuracies of an attacker, and what they mean, in plain words."""
    rest = f", on their unprotected part alone {best['rest']:.1%}" if "rest" in best else ""
    return (
        f"{name}: {best['protected']:.1%} on clean images after training on the shards{rest}, "
        f"{best['clean']:.1%} after the originals, {best['control']:.1%} after the originals with random noise of the "
        f"same size (base: {base:.1%}); {_MEANS[found]}."
    )
