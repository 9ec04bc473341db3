"""What a verification returns: victims, their accuracies over seeds, a verdict for every attacker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..settings import format_radius
from ..victims import Attacker, Point, Stop
from .theory import theory
from .verdict import RULE, Verdict

PROTECTED = "protected"
KINDS = ("clean", PROTECTED, "control")  # forms of a collection that victims are trained on
REST = "rest"  # the unprotected part of a collection alone


@dataclass(frozen=True)
class VictimOutcome:
    """What a victim reached: how well it classifies clean images that it never saw. Shares in [0, 1]."""

    final: float  # test accuracy after the last step; of early stopping, the best that one of its rules would have kept
    best: float  # highest test accuracy on the way; of early stopping, that of its best rule
    train: float  # accuracy on the images it was trained on, after the last step
    seconds: float
    curve: tuple[Point, ...]
    per_class: tuple[float | None, ...]  # test accuracy after the last step; None for a class without a test image
    stops: tuple[Stop, ...]  # what each rule of early stopping would have kept
    correct: tuple[bool, ...]  # which test images it classified correctly when it was at its best
    # Of the final network, where attacks at its own radius have changed the images; None without an adversary.
    under_pgd: float | None = None  # of the test images, by PGD-10
    train_under_pgd: float | None = None  # of a sample of the images it was trained on, by PGD-10
    train_under_own: float | None = None  # of the same sample, by its own adversary

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which `outcome_from_json` reads."""
        return {
            "final": self.final, "best": self.best, "train": self.train, "seconds": self.seconds,
            "curve": [asdict(point) for point in self.curve], "per_class": list(self.per_class),
            "stops": [asdict(stop) for stop in self.stops],
            "correct": "".join("01"[here] for here in self.correct), "under_pgd": self.under_pgd,
            "train_under_pgd": self.train_under_pgd, "train_under_own": self.train_under_own,
        }  # fmt: skip


def outcome_from_json(values: Mapping[str, Any]) -> VictimOutcome:
    """The outcome that `VictimOutcome.to_json` wrote."""
    sequences = {
        "curve": tuple(Point(**point) for point in values["curve"]),
        "per_class": tuple(values["per_class"]),
        "stops": tuple(Stop(**stop) for stop in values["stops"]),
        "correct": tuple(digit == "1" for digit in values["correct"]),
    }
    return VictimOutcome(**{**values, **sequences})


@dataclass(frozen=True)
class VictimResult(VictimOutcome):
    """A victim of the grid: its outcome, who trained it, and on what."""

    attacker: Attacker = field(kw_only=True)
    data: str = field(kw_only=True)  # clean | protected | control, and rest: the unprotected part alone
    seed: int = field(kw_only=True)

    def to_json(self) -> dict[str, Any]:
        return {
            "attacker": self.attacker.name, **self.attacker.to_json(), "data": self.data, **self.figures()
        }  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """The seed and the outcome, as JSON values, without what concerns single images."""
        outcome = {name: value for name, value in super().to_json().items() if name != "correct"}
        return {"seed": self.seed, **outcome}


@dataclass(frozen=True)
class AccuracySummary:
    """What an attacker reaches on one form of the collection, over all seeds. Shares in [0, 1], 95 % intervals."""

    final: float
    final_interval: tuple[float, float]
    best: float
    best_interval: tuple[float, float]
    train: float
    seeds: tuple[VictimResult, ...]
    under_pgd: float | None = None  # None without an adversary, as the next two
    train_under_pgd: float | None = None
    train_under_own: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "final": self.final, "final_interval": list(self.final_interval), "best": self.best,
            "best_interval": list(self.best_interval), "train": self.train,
            "under_pgd": self.under_pgd, "train_under_pgd": self.train_under_pgd,
            "train_under_own": self.train_under_own,
            "seeds": [victim.figures() for victim in self.seeds],
        }  # fmt: skip


@dataclass(frozen=True)
class AttackerResult:
    """How well the shards protect against one attacker."""

    attacker: Attacker
    verdict: Verdict  # protects | weakens | does not protect | borderline | cannot tell | not compared
    retained_share: float | None  # of the accuracy that the originals give above the base; None without a verdict
    share_interval: tuple[float, float] | None  # 95 %, by bootstrap over test images and seeds
    still_rises: bool  # the accuracy on the shards, when the training ends
    sentence: str
    data: dict[str, AccuracySummary]  # clean, protected, control, and rest where a part is protected; or protected only
    collapsed: tuple[str, ...] = ()  # the kinds of data after which adversarial training has failed

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.attacker.name, **self.attacker.to_json(), "verdict": self.verdict,
            "retained_share": self.retained_share,
            "share_interval": self.share_interval and list(self.share_interval),
            "still_rises": self.still_rises, "collapsed": list(self.collapsed), "sentence": self.sentence,
            "data": {kind: summary.to_json() for kind, summary in self.data.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class VerifyResult:
    """The result of a verification, and where its report is."""

    attackers: list[AttackerResult]
    chance: float
    majority: float | None  # share of the largest class among the test images, where classes are unbalanced
    samples: dict[str, int]  # train, test
    not_tried: list[str]
    rho_u: float  # the radius of the noise, in [0, 1]
    report: str  # the folder of report.json, report.html and the attestation

    @property
    def results(self) -> list[VictimResult]:
        """Every victim."""
        return [victim for each in self.attackers for summary in each.data.values() for victim in summary.seeds]

    @property
    def partly(self) -> bool:
        """Whether an attacker had unprotected images too."""
        return any(REST in each.data for each in self.attackers)

    @property
    def strongest(self) -> AttackerResult:
        """The attacker with the best test accuracy on the shards, of those where the largest part is protected."""
        largest = max(each.attacker.fraction for each in self.attackers)
        candidates = [each for each in self.attackers if each.attacker.fraction == largest]
        return max(candidates, key=lambda each: each.data[PROTECTED].best)

    def worst(self) -> float:
        """The best test accuracy of the strongest attacker."""
        return self.strongest.data[PROTECTED].best

    def drop(self) -> float:
        """How far the strongest attacker stays below its own accuracy on the originals, both at their best."""
        return self.strongest.data["clean"].best - self.worst()

    @property
    def verdict(self) -> dict[str, str]:
        """That of the strongest attacker tried: its name, the verdict, a sentence, and what theory says."""
        strongest = self.strongest
        return {
            "attacker": strongest.attacker.name, "verdict": strongest.verdict,
            "sentence": f"The strongest attacker tried: {strongest.sentence}",
            "theory": theory(self.rho_u, self._plain()),
        }  # fmt: skip

    def _plain(self) -> dict[float, float]:
        """The best accuracy on the shards by radius, of attackers who take the pictures as they are."""
        plain = [each for each in self.attackers if each.attacker.countermeasure == "none"]
        radii = dict.fromkeys(each.attacker.rho_a for each in plain)
        return {rho: max(each.data[PROTECTED].best for each in plain if each.attacker.rho_a == rho) for rho in radii}

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict, "rule": RULE, "attackers": [each.to_json() for each in self.attackers],
            "chance": self.chance, "majority": self.majority, "samples": self.samples, "not_tried": self.not_tried,
            "rho_u": format_radius(self.rho_u), "report": self.report,
        }  # fmt: skip
