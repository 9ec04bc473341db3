"""The plan of a verification: every victim is counted, times are positive, and nothing is trained or written."""

import math

import pytest

import semshard
from semshard.settings import SETS
from semshard.verification import estimate
from semshard.verification.estimate import plan_of
from semshard.victims import BY_NAME
from tests.support.verification import PLAIN, QUICK, RECIPE, opened_inputs, trained_phases
from tests.support.workers import workers


def tree(folder):
    return sorted(folder.rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "victims"),
    [
        ({"rho_a": "0,2/255"}, 2 * 3),
        ({"rho_a": "0", "protected_fraction": "1,0.5"}, 3 + 4),
        ({"rho_a": "0,2/255", "seeds": 2}, 2 * 3 * 2),
        ({"rho_a": "0,2/255", "longer": 3}, 2 * 3 + 3),
    ],
)
def test_a_plan_counts_every_victim_and_verify_trains_no_more(finished, tmp_path, settings, victims):
    before = tree(finished)
    events = []
    plan = semshard.plan_verification(finished / "shards", progress=events.append, **(PLAIN | settings))
    assert plan.victims == victims
    assert tree(finished) == before
    assert not trained_phases(events)
    for each in plan.attackers:
        assert each.seconds > 0
        assert each.victims > 0
    alone = sum(each.victims * each.seconds for each in plan.attackers)
    assert plan.at_once == 1
    assert plan.seconds == pytest.approx(alone, abs=0.1)
    assert "an estimate" in plan.sentence
    found = semshard.verify(finished / "shards", report=tmp_path / "r", **(PLAIN | settings))
    assert len(found.results) == victims


def test_of_a_set_every_attacker_trains_on_the_shards_and_the_slowest_stands_for_the_strongest(finished):
    recipe = {**QUICK, "steps": 60}
    plan = semshard.plan_verification(finished / "shards", workers=workers(2), seeds=2, **recipe)
    *attackers, strongest = plan.attackers
    assert [each.victims for each in attackers] == [2] * len(SETS["usual"])
    assert strongest.victims == 2 * 2
    assert plan.learning == ("denoise",)
    assert "what denoise must learn before is not counted" in plan.sentence
    assert strongest.seconds == max(each.seconds for each in attackers)
    standard, adversarial = (
        [each.seconds for each in attackers if kind in each.name] for kind in ("standard", "adversarial")
    )
    assert (len(set(standard)), len(set(adversarial))) == (1, 1), "one kind of step is measured once"
    alone = sum(each.victims * each.seconds for each in plan.attackers)
    assert alone / 2 - 0.1 <= plan.seconds <= alone


def test_longer_trainings_take_longer(finished):
    short, long = (
        semshard.plan_verification(finished / "shards", rho_a="0", **(PLAIN | {"steps": steps})).seconds
        for steps in (50, 5000)
    )
    assert long > 10 * short


def test_training_without_labels_is_timed_with_its_steps_and_its_fits(finished):
    settings = {"rho_a": "0", "countermeasure": "none,simclr", "steps": 200}
    plain, unlabelled = semshard.plan_verification(finished / "shards", **(PLAIN | settings)).attackers
    assert unlabelled.seconds > BY_NAME["simclr"].longer * plain.seconds


@pytest.mark.slow
def test_the_time_is_shown_before_the_first_training_and_says_that_it_is_an_estimate(finished, monkeypatch):
    for worth in (0.0, math.inf):  # measured steps; the number of operations
        monkeypatch.setattr(estimate, "WORTH", worth)
        events = []
        report = finished / f"report-{worth}"
        semshard.verify(finished / "shards", rho_a="0", report=report, progress=events.append, **PLAIN)
        messages = [number for number, event in enumerate(events) if "an estimate" in event.message]
        steps = [number for number, event in enumerate(events) if event.unit == "steps"]
        assert len(messages) == 1
        assert messages[0] < steps[0]
        assert events[messages[0]].message.startswith("3 victims to train")
        again = []
        semshard.verify(finished / "shards", rho_a="0", report=report, progress=again.append, **PLAIN)
        assert not [event for event in again if "an estimate" in event.message], "nothing is left to train"


def test_what_is_finished_is_not_counted_again(finished, tmp_path):
    semshard.verify(finished / "shards", rho_a="0", report=tmp_path / "r", **PLAIN)
    inputs = opened_inputs(finished / "shards", tmp_path / "r", **({"rho_a": "0,2/255"} | RECIPE))
    left = estimate._left(inputs)
    assert {task.attacker.rho_a for task in left} == {2 / 255}
    assert plan_of(inputs, workers(1), left).victims == 3
