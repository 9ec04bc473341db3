"""Who is tried: the attackers that are asked for, each once, and the strongest again and for longer."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import semshard
from semshard.models import build
from semshard.settings import SETS
from semshard.verification.inputs import open_inputs
from semshard.verification.request import VerifyRequest
from semshard.victims import apply, attackers
from tests.support.runs import TINY
from tests.support.verification import PLAIN, QUICK, RECIPE, counted_calls, trained_phases


@pytest.mark.slow
def test_a_grid_is_the_product_of_its_lists_in_order_with_all_seeds(finished):
    found = semshard.verify(
        finished / "shards", rho_a="2/255,0", countermeasure="grey,none", protected_fraction="1,0.5", seeds=2, seed=3,
        **QUICK,
    )  # fmt: skip
    grid = [
        (each.attacker.countermeasure, each.attacker.fraction, round(each.attacker.rho_a * 255))
        for each in found.attackers
    ]
    assert grid == [(c, f, rho) for c in ("grey", "none") for f in (1, 0.5) for rho in (2, 0)]
    for each in found.attackers:
        assert ("rest" in each.data) == (each.attacker.fraction < 1)
        for figures in each.data.values():
            assert [victim.seed for victim in figures.seeds] == [3, 4]
            assert figures.final == pytest.approx(sum(victim.final for victim in figures.seeds) / 2)
            assert figures.final_interval[0] <= figures.final <= figures.final_interval[1]
    assert len({each.attacker.name for each in found.attackers}) == 8
    assert found.strongest.attacker.fraction == 1
    assert found.worst() == max(e.data["protected"].best for e in found.attackers if e.attacker.fraction == 1)
    assert found.drop() == found.strongest.data["clean"].best - found.worst()
    assert found.verdict["attacker"] == found.strongest.attacker.name


@pytest.mark.slow
def test_without_a_countermeasure_the_usual_ones_are_tried_with_and_without_an_adversary(finished, tmp_path):
    found = semshard.verify(finished / "shards", rho_a="2/255", report=tmp_path / "r", **QUICK)
    tried = [(each.attacker.countermeasure, round(each.attacker.rho_a * 255)) for each in found.attackers]
    assert sorted(tried) == [(name, rho) for name in ("grey", "jpeg-10", "none") for rho in (0, 2)]
    (left,) = [line for line in found.not_tried if line.startswith("countermeasures")]
    assert "jpeg-50" in left
    assert "grey" not in left.replace("countermeasures: ", "").split(", ")
    asked = semshard.verify(finished / "shards", rho_a="2/255", report=tmp_path / "r", **PLAIN)
    assert [each.attacker.name for each in asked.attackers] == ["small, adversarial training at 2/255"]


@pytest.mark.slow
def test_of_a_set_only_the_strongest_attacker_is_compared_with_originals_and_control(finished, tmp_path):
    usual = {"report": tmp_path / "r", **QUICK}
    events = []
    found = semshard.verify(finished / "shards", progress=events.append, **usual)
    tried = {(each.attacker.countermeasure, each.attacker.rho_a) for each in found.attackers}
    assert tried == set(SETS["usual"])
    assert len(trained_phases(events)) == len(found.results) == len(tried) + 2
    for each in found.attackers:
        if each is found.strongest:
            assert tuple(each.data) == ("clean", "protected", "control")
            assert each.verdict != "not compared"
        else:
            assert tuple(each.data) == ("protected",)
            assert (each.verdict, each.retained_share) == ("not compared", None)
            assert "not compared with the originals" in each.sentence
    assert found.worst() == max(each.data["protected"].best for each in found.attackers)
    assert found.drop() == found.strongest.data["clean"].best - found.worst()
    assert found.verdict["attacker"] in found.verdict["sentence"]
    page = (tmp_path / "r" / "report.html").read_text()
    assert all(each.attacker.name in page for each in found.attackers)
    statement = json.loads((tmp_path / "r" / "report.intoto.json").read_text())["predicate"]
    named = [name for result in ("passed", "warned", "failed") for name in statement[f"{result}Tests"]]
    assert named == [found.strongest.attacker.name]
    again = []
    longer = semshard.verify(finished / "shards", longer=2, progress=again.append, **usual)
    assert len(trained_phases(again)) == 3, "the strongest attacker on all three, for longer"
    compared = [each.attacker for each in longer.attackers if "clean" in each.data]
    assert compared == [found.strongest.attacker, replace(found.strongest.attacker, longer=2)]


@pytest.mark.slow
def test_the_strongest_attacker_trains_longer(finished, tmp_path):
    grid = {"rho_a": "0,2/255", **PLAIN}
    usual = semshard.verify(finished / "shards", report=tmp_path / "r", **grid)
    events = []
    found = semshard.verify(finished / "shards", report=tmp_path / "r", longer=3, progress=events.append, **grid)
    assert len(found.attackers) == 3
    last = found.attackers[-1]
    assert last.attacker == replace(usual.strongest.attacker, longer=3)
    assert f"within {3 * RECIPE['steps']} steps" in last.sentence
    assert all(result.curve[-1].step == 3 * RECIPE["steps"] for result in last.data["protected"].seeds)
    assert len(trained_phases(events)) == 3, "nobody else is trained again"
    assert [each.data for each in found.attackers[:2]] == [each.data for each in usual.attackers]
    assert "3 times the steps" in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.slow
def test_a_filter_is_applied_once_for_all_victims_of_the_same_pictures(finished):
    with counted_calls(apply) as calls:
        semshard.verify(finished / "shards", rho_a="0,1/255,2/255", countermeasure="median", **QUICK)
    assert len(calls) == 3 * 2, "training and test images of each of three forms, not of each radius or epoch"


def test_fine_tuning_starts_from_given_weights_and_a_probe_changes_its_head_only(finished, tmp_path):
    path = tmp_path / "w.safetensors"
    given = build("small", 4, (32, 32), 77).state_dict()
    save_file(given, path)
    found = semshard.verify(finished / "shards", rho_a="0", weights=path, **PLAIN)
    assert [each.attacker.start for each in found.attackers] == ["probe", "full"]
    request = VerifyRequest(finished / "shards", preset="quick", weights=path, settings={"rho_a": "0", **RECIPE})
    inputs = open_inputs(request)
    assert [each.attacker for each in found.attackers] == list(attackers(inputs.trainer.config))
    data = inputs.dataset.data("clean")
    probe, full = (
        inputs.trainer.train("victim", data, each.attacker, 0)[0].model.state_dict() for each in found.attackers
    )
    moved = {name for name in given if not name.startswith("net.head") and not torch.equal(probe[name], given[name])}
    assert not moved
    assert any(not torch.equal(full[name], given[name]) for name in given if not name.startswith("net.head"))
    assert probe["net.head.weight"].shape[0] == 10
    with pytest.raises(semshard.SettingError, match="give --weights"):
        semshard.verify(finished / "shards", rho_a="0", start="probe", **PLAIN)
    with pytest.raises(semshard.SettingError, match=r"w\.safetensors has no weights of resnet18 for 32 × 32 pixels"):
        semshard.verify(finished / "shards", victim="resnet18", weights=path, **PLAIN)


def test_early_stopping_reads_all_its_rules_off_one_training(finished):
    found = semshard.verify(
        finished / "shards", rho_a="0", countermeasure="early-stop", patience="1,4", clean_share="0,0.5,1", **QUICK
    )
    (each,) = found.attackers
    (victim,) = each.data["protected"].seeds
    assert [(stop.patience, stop.clean_share) for stop in victim.stops] == [(p, s) for s in (0, 0.5, 1) for p in (1, 4)]
    assert victim.final == max(stop.test for stop in victim.stops)
    assert {stop.test for stop in victim.stops} <= {point.test for point in victim.curve}


def test_a_network_that_cannot_take_the_images_is_found_before_any_training(images, tmp_path):
    for path in images.rglob("*.png"):
        Image.open(path).crop((0, 0, 30, 28)).save(path)
    semshard.protect(images, tmp_path / "s", **TINY)
    events = []
    with pytest.raises(semshard.SettingError, match="vit takes square images"):
        semshard.verify(tmp_path / "s", victim="small,vit", rho_a="0", progress=events.append, **PLAIN)
    assert not trained_phases(events)
    assert not (tmp_path / "s.report").exists()


def test_too_few_images_for_an_attacker_are_an_error_that_says_so(finished):
    with pytest.raises(
        semshard.ShardError, match=r"too few: with a protected fraction of 0\.9999 none is left unprotected"
    ):
        semshard.verify(finished / "shards", rho_a="0", protected_fraction="0.9999", **PLAIN)
