"""Attackers that learn first: once for all their victims, from images of their own, with the same result in any number
of processes.
"""

import json
from dataclasses import replace

import pytest
import torch

import semshard
from semshard.settings import ProtectConfig, from_json
from semshard.verification.grid import grid, with_data
from semshard.verification.inputs import public_settings
from semshard.verification.request import VerifyRequest
from semshard.victims import BY_NAME
from tests.support.verification import QUICK, RECIPE, opened_inputs
from tests.support.workers import workers

LEARNING = "denoise,counter-noise,refit,ueraser-max,simclr"


@pytest.mark.slow
def test_one_process_and_two_give_the_same_and_the_report_lists_them(finished, tmp_path):
    settings = {"rho_a": "0", "countermeasure": LEARNING, **QUICK}
    alone = semshard.verify(finished / "shards", report=tmp_path / "one", workers=workers(1), **settings)
    two = semshard.verify(finished / "shards", report=tmp_path / "two", workers=workers(2), **settings)
    assert [(r.attacker, r.data, r.curve, r.per_class) for r in two.results] == [
        (r.attacker, r.data, r.curve, r.per_class) for r in alone.results
    ]
    report = json.loads((tmp_path / "one" / "report.json").read_text())
    assert [each["countermeasure"] for each in report["attackers"]] == LEARNING.split(",")
    page = (tmp_path / "one" / "report.html").read_text()
    assert all(BY_NAME[name].label in page for name in LEARNING.split(","))
    longest = next(each for each in alone.results if each.attacker.countermeasure == "ueraser-max")
    assert longest.curve[-1].step == 3 * QUICK["steps"]


@pytest.mark.slow
def test_what_is_learned_serves_all_victims_and_later_calls(finished, tmp_path):
    def phases(**settings):
        events = []
        semshard.verify(
            finished / "shards", report=tmp_path / "r", workers=workers(1), progress=events.append,
            **(QUICK | {"countermeasure": "denoise,counter-noise", "seeds": 2} | settings),
        )  # fmt: skip
        return [event.phase for event in events if event.unit == "steps" and event.done == event.total]

    first = phases(rho_a="0")
    assert [first.count(name) for name in ("pairs", "denoiser", "counter-noise")] == [1, 1, 3], "one for each kind"
    more = phases(rho_a="0,1/255")
    assert not {"pairs", "denoiser", "counter-noise"} & set(more)
    assert len(more) == 2 * 3 * 2, "the victims of the new radius"
    assert "denoiser" in phases(rho_a="0", seed=7, seeds=1), "another seed learns anew"


@pytest.mark.parametrize("name", ["denoise", "refit"])
def test_own_images_are_neither_trained_nor_tested_on_in_any_form(finished, tmp_path, name):
    inputs = opened_inputs(finished / "shards", tmp_path / "r", rho_a="0", countermeasure=name, **_PLAIN)
    dataset = inputs.dataset
    own = dataset.data("protected", name).own
    plain = dataset.data("clean")
    assert 0 < len(own.labels) < len(plain.train.labels)
    for kind in ("clean", "protected", "control"):
        data = dataset.data(kind, name)
        assert torch.equal(data.own.images, own.images), "the same whatever the form of the collection"
        assert len(data.train.labels) + len(own.labels) == len(plain.train.labels)
        for part in (data.train, data.test):
            for image in part.images:
                assert (own.images.int() - image.int()).abs().amax((1, 2, 3)).min() > 8


_PLAIN = {name: value for name, value in RECIPE.items() if name != "countermeasure"}


@pytest.mark.slow
def test_a_denoiser_changes_test_images_too_unless_asked_not_to(finished, tmp_path):
    test = {}
    for on in ("both", "train"):
        inputs = opened_inputs(
            finished / "shards", tmp_path / on, rho_a="0", countermeasure="denoise", filter_on=on, **_PLAIN
        )
        plain = inputs.dataset.data("clean").test.images
        (_, data), *_ = with_data(inputs.dataset, inputs.trainer, grid(inputs.trainer.config))
        assert data.own is None, "a victim does not train on them"
        test[on] = torch.equal(data.test.images, plain)
    assert test == {"both": False, "train": True}


def test_the_public_settings_are_those_of_the_run_without_its_seed(finished, tmp_path):
    inputs = opened_inputs(finished / "shards", tmp_path / "r", rho_a="0", **RECIPE)
    public = public_settings(inputs.shards, inputs.trainer.runtime)
    run = json.loads((finished / "shards.ledger" / "run.json").read_text())
    private = from_json(ProtectConfig, run["settings"])
    assert public.seed != private.seed
    assert replace(public, seed=0, precision="float32") == replace(private, seed=0, precision="float32")


def test_photographs_are_left_out_with_a_sentence_or_refused_in_one():
    def config(names):
        said = []
        request = VerifyRequest("shards", preset="quick", progress=said.append, settings={"countermeasure": names})
        found = request.config(None, request.runtime()).countermeasure
        return found, [event.message for event in said if "images of one size" in event.message]

    assert config("none,denoise,refit") == (("none", "refit"), ["denoise needs images of one size: not tried"])
    assert config("refit")[1] == []
    with pytest.raises(semshard.SettingError, match="denoise and counter-noise need images of one size; these shards"):
        config("denoise,counter-noise")


def test_without_such_attackers_nothing_is_learned(finished, tmp_path):
    events = []
    semshard.verify(
        finished / "shards", report=tmp_path / "r", rho_a="0", countermeasure="none", progress=events.append, **QUICK
    )
    assert not {"pairs", "denoiser", "counter-noise"} & {event.phase for event in events}
