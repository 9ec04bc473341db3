"""What accuracies mean: 95 % intervals, and a verdict and a sentence for every attacker.

The verdict follows from the retained share: of the accuracy that the originals give above the base, which nobody needs
the collection for, how much the shards still give. It is (shards − base) / (originals − base), of best test accuracies,
means over the seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["protects", "weakens", "does not protect", "borderline", "cannot tell", "not compared"]
Correct = NDArray[np.bool_]  # (seeds, test images)

PROTECTS, WEAKENS = 1 / 3, 2 / 3  # retained shares below which the shards do so
RESAMPLES = 1000  # of a bootstrap
MOST_SHARE = 10.0  # what a share is cut off at where a resample leaves the originals next to nothing
COLLAPSED = 1 / 2  # of what its own adversary leaves a network: PGD-10 leaves less where its training has failed
MARGIN = 0.1  # accuracy above the base that the originals must give for a verdict
RULE = (
    "Each attacker is compared with the same attacker on the originals, by the best test accuracy during training, "
    "averaged over the seeds: as if the thief knew the test images and stopped at the right moment. The base is what "
    "needs no protected image: chance, the share of the largest class, or the accuracy of the unprotected part of the "
    "collection alone, whichever is highest. The retained share is how much the shards still teach of what the "
    "originals teach above the base: (shards − base) / (originals − base). Below one third the shards protect, below "
    "two thirds they weaken the attacker, otherwise they do not protect, if the whole 95 % interval of the share says "
    "so (bootstrap over test images and seeds; with one seed it knows nothing of how trainings differ); else it is "
    "borderline. There is no verdict (cannot tell) where the originals give less than ten points above chance or the "
    "largest class, or where the 95 % intervals of originals and base overlap. Of a set of attackers with a "
    "name, only the one that reaches most on the shards is compared; the others have no verdict (not compared). The "
    "test images were held out of the victims' trainings; the surrogate that made the noise has seen them."
)
NAMES = {"clean": "originals", "protected": "shards", "control": "control", "rest": "unprotected rest"}
COLLAPSE = "Its adversarial training has failed: it withstands its own adversary only"
REMEDY = "Train with more --steps-a and a smaller --step-share, like 3 and 0.5."
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


def share_interval(clean: Correct, protected: Correct, base: float, rest: Correct | None = None) -> tuple[float, float]:
    """The 95 % interval of a retained share: percentiles of a bootstrap over test images and seeds.

    `clean`, `protected` and `rest` are bool (seeds, test images), of the same seeds and images: which of them the
    victims classify correctly. A resample draws images and seeds with replacement, the same for all three, for victims
    of one seed share their draws. The base is `base`, or where that is higher what `rest` gives. With one seed the
    interval knows nothing of how trainings differ.
    """
    random = np.random.Generator(np.random.PCG64(0))
    (seeds, images), known = clean.shape, [clean, protected, *(() if rest is None else (rest,))]
    shares = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        times = np.bincount(random.integers(0, images, images), minlength=images)
        drawn = random.integers(0, seeds, seeds)
        best, ours, *others = ((each[drawn] @ times).mean() / images for each in known)
        low = max([base, *others])
        shares[number] = (ours - low) / (best - low) if best > low else MOST_SHARE
    low, high = np.quantile(shares.clip(-MOST_SHARE, MOST_SHARE), (0.025, 0.975), method="nearest")
    return round(float(low), 4), round(float(high), 4)


def verdict_of(share: float | None, between: tuple[float, float] | None) -> Verdict:
    """The verdict that follows from a retained share, if all of its 95 % interval says the same."""
    if share is None or between is None:
        return "cannot tell"
    low, middle, high = (_band(each) for each in (between[0], share, between[1]))
    return middle if low == middle == high else "borderline"


def _band(share: float) -> Verdict:
    return "protects" if share < PROTECTS else "weakens" if share < WEAKENS else "does not protect"


def still_rises(curves: Sequence[Sequence[float]], images: int) -> bool:
    """Whether accuracies on `images` test images, of one curve for each seed, are higher in the last quarter of the
    training than in the quarter before, by more than twice the standard error of that difference.
    """
    mean = [statistics.fmean(each) for each in zip(*curves, strict=True)]
    quarter = len(mean) // 4
    if not quarter:
        return False
    before, last = (statistics.fmean(each) for each in (mean[-2 * quarter : -quarter], mean[-quarter:]))
    return last - before > 2 * math.sqrt(2 * last * (1 - last) / images)


def mean_over_seeds(figures: Iterable[float | None]) -> float | None:
    """Of those figures that there are; None where the victims had no adversary, and so have none."""
    known = [figure for figure in figures if figure is not None]
    return statistics.fmean(known) if known else None


def has_collapsed(under_own: float, under_pgd: float, base: float) -> bool:
    """Whether a network that was trained against an adversary withstands that one only: catastrophic overfitting (Wong,
    Rice and Kolter 2020). Both are accuracies on images that it was trained on: what it learned from noise is missing
    on clean images, and what attacks leave of it there says nothing of its training. Nothing can be said of a network
    that has hardly learnt more than `base`.
    """
    return under_own >= base + MARGIN and under_pgd < COLLAPSED * under_own


_MEANING: dict[Verdict, str] = {
    "protects": "the shards protect against it",
    "weakens": "the shards weaken it, but it still learns from them",
    "does not protect": "the shards do not protect against it",
    "borderline": "the 95 % interval of the retained share crosses a limit, so more test images or seeds must decide",
    "not compared": "it was not compared with the originals, for another attacker reaches more",
    "cannot tell": "the originals give too little above the base to tell, with this number of test images",
}


def sentence(
    name: str,
    steps: int,
    best: Mapping[str, float],
    base: float,
    verdict: Verdict,
    rises: bool,
    collapsed: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """The best accuracies of an attacker, and what they mean, in plain words. `collapsed` are accuracies on its
    training images, under its own adversary and under PGD-10, by kind of data, where adversarial training has failed.
    """
    rest = f", {best['rest']:.1%} after their unprotected part alone" if "rest" in best else ""
    more = " Its accuracy on the shards still rises at the end, so longer training would reach more." if rises else ""
    if collapsed:
        left = ", ".join(f"{NAMES[kind]} {own:.1%} and {pgd:.1%}" for kind, (own, pgd) in collapsed.items())
        more += f" {COLLAPSE} (on its training images, under that one and under PGD-10, {left}). {REMEDY}"
    compared = ""
    if "clean" in best:
        random = f"{best['control']:.1%} after the originals with random noise of the same size"
        compared = f", {best['clean']:.1%} after the originals, {random}"
    return (
        f"{name}: at best {best['protected']:.1%} on clean images within {steps:,} steps on the shards{rest}{compared} "
        f"(base: {base:.1%}); {_MEANING[verdict]}.{more}"
    )
