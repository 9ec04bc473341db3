"""Verifications that were interrupted continue where they stopped, with the same figures."""

from dataclasses import replace

import pytest
import torch

import semshard
from semshard.engine import Autosave, Checkpoint, Deadline
from semshard.progress import silent
from semshard.settings import verify_config
from semshard.verification.checkpoint import VictimCheckpoint
from semshard.verification.request import VerifyRequest
from semshard.verification.verify import run_verify
from semshard.victims import Point, TrainingState, ValidationPoint
from tests.support.verification import PLAIN, RECIPE, trained_phases


@pytest.mark.slow
def test_an_interrupted_grid_is_resumed_and_ends_in_the_same_figures(finished, tmp_path):
    shards, grid = finished / "shards", {"rho_a": "0,2/255", "report": tmp_path / "r", **PLAIN}
    whole = semshard.verify(shards, **(grid | {"report": tmp_path / "whole"}))
    events = []

    def interrupt(event):
        events.append(event)
        if len(trained_phases(events)) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        semshard.verify(shards, progress=interrupt, **grid)
    done, events = trained_phases(events), []
    again = semshard.verify(shards, progress=events.append, **grid)
    assert trained_phases(events)[0] == done[4]
    assert len(trained_phases(events)) == 2
    assert [r.curve for r in again.results] == [r.curve for r in whole.results]
    events = []
    more = semshard.verify(shards, progress=events.append, **(grid | {"steps_a": 2}))
    assert len(trained_phases(events)) == 3, "another adversary is another victim, but of standard training"
    assert len(more.results) == 6


@pytest.mark.slow
def test_a_victim_that_was_killed_half_way_is_resumed_from_there(finished, tmp_path):
    settings = {"rho_a": "2/255", **RECIPE}

    def verify(report, progress=silent):
        return run_verify(VerifyRequest(
            finished / "shards", preset="quick", report=report, progress=progress, settings=settings, autosave_seconds=0
        ))  # fmt: skip

    whole = verify(tmp_path / "whole")

    def killed(event):
        if event.phase.startswith("protected") and event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(tmp_path / "r", killed)
    assert len(list((tmp_path / "r").glob("victim-*"))) == 1
    events = []
    again = verify(tmp_path / "r", events.append)
    first = {event.phase.split(":")[0]: event.done for event in reversed(events) if event.unit == "steps"}
    assert first == {"protected": 2, "control": 1}, "the protected one resumes after its first step, the control is new"
    assert [(r.curve, r.per_class) for r in again.results] == [(r.curve, r.per_class) for r in whole.results]
    assert not list((tmp_path / "r").glob("victim-*"))


def test_a_checkpoint_of_another_training_or_a_broken_one_is_ignored(tmp_path):
    path = tmp_path / "victim.safetensors"
    mine = VictimCheckpoint(path, "mine")
    assert mine.load() == TrainingState()
    path.write_bytes(b"half a file")
    assert mine.load() == TrainingState()
    seen = ValidationPoint(2, 0.5, torch.tensor([True, False]), torch.tensor([False, False]))
    state = TrainingState(
        Checkpoint(2, {"model.a": torch.ones(2)}), (Point(2, 0.5, 0.25),), (torch.tensor([True]),), (seen,)
    )
    config = verify_config("quick", (32, 32), "float32", {"steps": 4, "round_every": 2})

    def save(checkpoint):
        VictimCheckpoint(path, "theirs").save(replace(state, checkpoint=checkpoint))

    with pytest.raises(semshard.TimeIsUp, match="theirs stands at step 2 of 4"):
        Autosave("theirs", save, deadline=Deadline(1e-9)).after(2, config, lambda done: state.checkpoint)
    assert mine.load() == TrainingState()
    loaded = VictimCheckpoint(path, "theirs").load()
    assert (loaded.checkpoint.step, loaded.curve, loaded.validation_points[0].step) == (2, state.curve, 2)
    assert torch.equal(loaded.validation_points[0].published, seen.published)
    assert torch.equal(loaded.correct[0], state.correct[0])
