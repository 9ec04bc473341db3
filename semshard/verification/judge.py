"""From the accuracies of the victims to a verdict for every attacker."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from ..settings import COUNTERMEASURES, NETWORKS, VerifyConfig
from ..victims import Attacker
from .inputs import VerifyInputs
from .results import KINDS, REST, AccuracySummary, AttackerResult, VerifyResult, VictimResult
from .verdict import (
    Verdict,
    has_collapsed,
    interval,
    mean_over_seeds,
    retained_share,
    sentence,
    share_interval,
    still_rises,
    verdict_of,
)

_UNBALANCED = 1.2  # times the mean class: from here on the largest class is mentioned


def judge(victims: Sequence[VictimResult], inputs: VerifyInputs) -> VerifyResult:
    """Accuracies become summaries over seeds, verdicts and sentences."""
    dataset, config, classes = inputs.dataset, inputs.trainer.config, inputs.trainer.classes
    tested = int(dataset.test.sum())
    trained_by_class = np.bincount(dataset.labels[dataset.train], minlength=classes)
    largest_class = float((dataset.labels[dataset.test] == trained_by_class.argmax()).mean())
    chance = 1 / classes
    results = []
    for attacker in dict.fromkeys(victim.attacker for victim in victims):
        own = [victim for victim in victims if victim.attacker == attacker]
        results.append(_judge_attacker(attacker, own, config.steps, max(largest_class, chance)))
    by_class = np.bincount(dataset.labels, minlength=classes)
    majority = largest_class if by_class.max() > _UNBALANCED * by_class.mean() else None
    samples = {"train": int(dataset.train.sum()), "test": tested}
    rho_u = max(inputs.shards.budget, inputs.shards.manifest["noise"]["linf_max"]) / 255
    return VerifyResult(results, chance, majority, samples, _not_tried(config), rho_u, str(inputs.folder))


def _judge_attacker(
    attacker: Attacker, victims: Sequence[VictimResult], steps: int, without_images: float
) -> AttackerResult:
    """The verdict on one attacker, by a recipe of so many steps. `without_images` is the accuracy of always guessing
    one class.
    """
    kinds = [kind for kind in (*KINDS, REST) if any(victim.data == kind for victim in victims)]
    by_kind = {kind: [victim for victim in victims if victim.data == kind] for kind in kinds}
    data = {kind: _summary(each) for kind, each in by_kind.items()}
    best = {kind: summary.best for kind, summary in data.items()}
    base, base_high = without_images, without_images
    if REST in data:
        base, base_high = max((base, base_high), (data[REST].best, data[REST].best_interval[1]))
    share: float | None = None
    between: tuple[float, float] | None = None
    verdict: Verdict = "not compared"
    if "clean" in data:
        share = retained_share(best, base, data["clean"].best_interval[0], base_high)
        if share is not None:
            correct = {kind: np.array([victim.correct for victim in each]) for kind, each in by_kind.items()}
            between = share_interval(correct["clean"], correct["protected"], without_images, correct.get(REST))
        verdict = verdict_of(share, between)
    curves = [[point.test for point in victim.curve] for victim in by_kind["protected"]]
    rises = still_rises(curves, len(victims[0].correct))
    collapsed = {
        kind: (own, pgd) for kind, of in data.items()
        if (own := of.train_under_own) is not None and (pgd := of.train_under_pgd) is not None
        and has_collapsed(own, pgd, without_images)
    }  # fmt: skip
    words = sentence(attacker.name, attacker.times * steps, best, base, verdict, rises, collapsed)
    return AttackerResult(attacker, verdict, share, between, rises, words, data, tuple(collapsed))


def _summary(victims: Sequence[VictimResult]) -> AccuracySummary:
    tested = len(victims[0].correct)
    final, best = [victim.final for victim in victims], [victim.best for victim in victims]
    return AccuracySummary(
        statistics.fmean(final), interval(final, tested), statistics.fmean(best), interval(best, tested),
        statistics.fmean(victim.train for victim in victims), tuple(victims),
        mean_over_seeds(victim.under_pgd for victim in victims),
        mean_over_seeds(victim.train_under_pgd for victim in victims),
        mean_over_seeds(victim.train_under_own for victim in victims),
    )  # fmt: skip


def _not_tried(config: VerifyConfig) -> list[str]:
    """What else people do: of what this tool knows, and in general."""
    tried, possible = config.pairs, len(config.countermeasure) * len(config.rho_a)
    left = {
        "victim networks": [name for name in NETWORKS if name not in config.victim],
        "countermeasures": [name for name in COUNTERMEASURES if name not in config.countermeasure],
        "training": [
            *(["standard training"] if 0 not in config.rho_a else []),
            *(["adversarial training"] if not any(config.rho_a) else []),
            *(["fine-tuning of a network trained on other images"] if config.start == ("scratch",) else []),
            *(["a collection of which only a part is protected"] if config.protected_fraction == (1.0,) else []),
        ],
        "combinations": [] if len(tried) == possible else ["countermeasures at radii that the table leaves out"],
        "anything else": ["what `semshard countermeasures` does not list", "other radii", "longer trainings"],
    }
    return [f"{what}: {', '.join(names)}" for what, names in left.items() if names]
