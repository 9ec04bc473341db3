"""Victims that are trained at once, in processes of their own."""

import pytest

import semshard
from semshard.cores import set_cores
from semshard.verification.grid import grid
from semshard.verification.parallel import suited_workers
from semshard.victims import train_victim
from tests.support.verification import PLAIN, RECIPE, counted_calls, opened_inputs, trained_phases
from tests.support.workers import workers


@pytest.mark.slow
def test_victims_trained_at_once_are_those_of_the_grid_and_are_trained_elsewhere(finished, tmp_path):
    grid = {"rho_a": "0,2/255", "protected_fraction": "1,0.5", **PLAIN}
    alone = semshard.verify(finished / "shards", report=tmp_path / "alone", **grid)
    events = []
    with counted_calls(train_victim) as calls:
        found = semshard.verify(
            finished / "shards", report=tmp_path / "two", workers=workers(2), progress=events.append, **grid
        )
    assert not calls, "nothing is trained in this process"
    assert len(trained_phases(events)) == 12, "the steps of each are reported"
    assert [(r.attacker, r.data, r.seed) for r in found.results] == [
        (r.attacker, r.data, r.seed) for r in alone.results
    ]
    assert [(r.curve, r.per_class) for r in found.results] == [(r.curve, r.per_class) for r in alone.results]
    done = [event for event in events if event.phase == "victims"]
    assert (done[-1].done, done[-1].total) == (12, 12), "clean victims serve both fractions"


def test_victims_are_trained_at_once_where_that_is_worth_the_start_of_processes(finished, tmp_path):
    set_cores(3)
    try:
        for recipe, jobs in ((RECIPE, 1), ({}, 3)):
            inputs = opened_inputs(finished / "shards", tmp_path / str(jobs), rho_a="0,2/255", **recipe)
            assert suited_workers(inputs.dataset, inputs.trainer, list(grid(inputs.trainer.config))) == jobs
    finally:
        set_cores(None)
