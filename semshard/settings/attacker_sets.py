"""Named sets of attackers: pairs of a countermeasure and a radius of adversarial training.

`usual` holds those that reached most in this project's own measurements (docs/strength.md, docs/verifying.md), on SEM
or on hardened noise, and adversarial training at radii up to that of the noise. `strong` adds stacks of filters, the
filters with an adversary, and early stopping; `all` is every countermeasure at every usual radius that it can have.
"""

from __future__ import annotations

from .names import COUNTERMEASURES, LISTED, NO_ADVERSARY

Pair = tuple[str, float]  # countermeasure, radius in [0, 1]

RADII = tuple(levels / 255 for levels in (0, 2, 4, 6, 8))
_HALF = 4 / 255  # half of the usual budget, which the noise is made against by default
_WON = (
    *((name, 0.0) for name in ("grey", "jpeg-10", "denoise")),
    *((name, _HALF) for name in ("grey", "jpeg-10", "gaussian", "resize")),
)
_STACKS = ("grey+jpeg-10", "jpeg-10+gaussian", "normalise", "equalise")
_FILTERS = ("mean", "median", "jpeg-50", "jpeg-75", "bits-2", "bits-4")


def product(countermeasures: tuple[str, ...], radii: tuple[float, ...]) -> tuple[Pair, ...]:
    """Every countermeasure at every radius, without an adversary where it cannot have one."""
    return tuple((name, rho) for name in countermeasures for rho in radii if not rho or name not in NO_ADVERSARY)


_USUAL: tuple[Pair, ...] = (*(("none", rho) for rho in RADII), *_WON)
_STRONG: tuple[Pair, ...] = (
    *_USUAL,
    *((name, rho) for name in (*_STACKS, "early-stop") for rho in (0.0, _HALF)),
    *((name, _HALF) for name in _FILTERS),
)
SETS: dict[str, tuple[Pair, ...]] = {
    "usual": _USUAL,
    "strong": _STRONG,
    "all": product(COUNTERMEASURES, RADII),
}


def pairs(attackers: str, countermeasures: tuple[str, ...], radii: tuple[float, ...]) -> tuple[Pair, ...]:
    """The pairs of a set that have one of these countermeasures and radii, or with `listed` every such pair; by
    countermeasure.
    """
    if attackers == LISTED:
        return product(countermeasures, radii)
    return tuple((name, rho) for name, rho in SETS[attackers] if name in countermeasures and rho in radii)


def lists_of(attackers: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The countermeasures and the radii of a set, each once: in the order of `COUNTERMEASURES`, and rising."""
    names, radii = {name for name, _ in SETS[attackers]}, {rho for _, rho in SETS[attackers]}
    return tuple(name for name in COUNTERMEASURES if name in names), tuple(sorted(radii))
