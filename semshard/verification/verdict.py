"""What accuracies mean: 95 % intervals, and a verdict and a sentence for every attacker.

The verdict follows from the retained share: of the accuracy that the originals give above the base, which nobody needs
the collection for, how much the shards still give. It is (shards − base) / (originals − base), of best test accuracies,
means over the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

Verdict = Literal["protects", "weakens", "does not protect", "cannot tell"]

PROTECTS, WEAKENS = 1 / 3, 2 / 3  # retained shares below which the shards do so
MARGIN = 0.1  # accuracy above the base that the originals must give for a verdict
RULE = (
    "Each attacker is compared with the same attacker on the originals, by the best test accuracy during training, "
    "averaged over the seeds. The base is what needs no protected image: chance, the share of the largest class, or "
    "the accuracy of the unprotected part of the collection alone, whichever is highest. The retained share is how "
    "much the shards still teach of what the originals teach above the base: (shards − base) / (originals − base). "
    "Below one third the shards protect, below two thirds they weaken the attacker, otherwise they do not protect. "
    "There is no verdict (cannot tell) where the originals give less than ten points above chance or the largest "
    "class, or where the 95 % intervals of originals and base overlap."
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


def retained_share(best: Mapping[str, float], base: float, clean_low: float, base_high: float) -> float | None:
    """How much of the accuracy that the originals give above `base` the shards still give; None: cannot tell.

    `best` are accuracies in [0, 1] by data: clean, protected, and rest where only a part was protected. `clean_low` and
    `base_high` are the ends of the 95 % intervals of the originals and of the base that face each other.
    """
    above = best["clean"] - base
    if clean_low <= base_high or ("rest" not in best and above < MARGIN):
        return None
    return (best["protected"] - base) / above


def verdict_of(share: float | None) -> Verdict:
    """The verdict that follows from a retained share."""
    if share is None:
        return "cannot tell"
    return "protects" if share < PROTECTS else "weakens" if share < WEAKENS else "does not protect"


_MEANING: dict[Verdict, str] = {
    "protects": "the shards protect against it",
    "weakens": "the shards weaken it, but it still learns from them",
    "does not protect": "the shards do not protect against it",
    "cannot tell": "the originals give too little above the base to tell, with this number of test images",
}


def sentence(name: str, best: Mapping[str, float], base: float, verdict: Verdict) -> str:
    """The accuracies of an attacker, and what they mean, in plain words."""
    rest = f", {best['rest']:.1%} after their unprotected part alone" if "rest" in best else ""
    return (
        f"{name}: {best['protected']:.1%} on clean images after training on the shards{rest}, "
        f"{best['clean']:.1%} after the originals, {best['control']:.1%} after the originals with random noise of the "
        f"same size (base: {base:.1%}); {_MEANING[verdict]}."
    )
