"""Verifying: the same recipe for every victim, clean images that none of them saw, and a report that opens anywhere."""

import json
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import semshard
from semshard.cores import set_cores
from semshard.models import build
from semshard.settings import SETS
from semshard.sources.shapes import draw_shape
from semshard.verification.dataset import control
from semshard.verification.grid import grid, with_data
from semshard.verification.inputs import open_inputs
from semshard.verification.parallel import suited_workers
from semshard.verification.request import VerifyRequest
from semshard.victims import (
    Attacker,
    apply,
    attackers,
    train_victim,
)
from tests.support.runs import TINY
from tests.support.verification import PLAIN, QUICK, RECIPE, opened_inputs, trained_phases
from tests.support.workers import workers


@pytest.fixture
def verified(finished):
    return finished, semshard.verify(finished / "shards", rho_a=["0", "2/255"], **PLAIN)


def test_every_attacker_has_a_clean_a_protected_and_a_control_victim(verified):
    _, found = verified
    assert [(each.attacker.rho_a, tuple(each.data)) for each in found.attackers] == [
        (rho, ("clean", "protected", "control")) for rho in (0, 2 / 255)
    ]
    for result in found.results:
        assert [point.step for point in result.curve] == [2, 4]
        assert (result.final, result.train) == (result.curve[-1].test, result.curve[-1].train)
        assert result.best == max(point.test for point in result.curve)
        correct = result.final * found.samples["test"]
        assert correct == pytest.approx(round(correct), abs=1e-4), "a share of the test images"
        assert len(result.per_class) == 10
        for name, kind in (("under_pgd", "test"), ("train_under_pgd", "train"), ("train_under_own", "train")):
            share = getattr(result, name)
            assert (share is None) == (result.attacker.rho_a == 0)
            attacked = (share or 0) * found.samples[kind]
            assert attacked == pytest.approx(round(attacked)), "a share of these images, too"
    assert found.chance == 0.1
    assert found.majority is None
    assert found.samples["train"] + found.samples["test"] == 40


def test_held_out_images_are_in_no_training(finished, tmp_path):
    semshard.verify(finished / "shards", rho_a="0", report=tmp_path / "r", **PLAIN)
    inputs = opened_inputs(finished / "shards", tmp_path / "again", rho_a="0", **RECIPE)
    data = {kind: data for (_, kind, _), data in with_data(inputs.dataset, inputs.trainer, grid(inputs.trainer.config))}
    keys = {inputs.trainer.key(each, Attacker("small", 0), 0) for each in data.values()}
    cached = json.loads((tmp_path / "r" / "victims.json").read_text())["results"]
    assert keys == cached.keys(), "a key is a hash of every image: verify trained and tested on these"
    test = data["clean"].test
    held_out = {image.numpy().tobytes() for image in test.images}
    assert len(held_out) == len(test.labels)
    clean, protected, noisy = (data[kind].train for kind in ("clean", "protected", "control"))
    for train in (clean, protected, noisy):
        assert not held_out & {image.numpy().tobytes() for image in train.images}
        for image in train.images:  # nor a protected or noisy form of one
            nearest = (test.images.int() - image.int()).abs().amax((1, 2, 3)).min()
            assert nearest > 8
        assert torch.equal(train.labels, clean.labels)
    assert (clean.images.int() - protected.images.int()).abs().max() == 8
    assert (clean.images.int() - noisy.images.int()).abs().max() == 8


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


def test_without_a_countermeasure_the_usual_ones_are_tried_with_and_without_an_adversary(finished, tmp_path):
    found = semshard.verify(finished / "shards", rho_a="2/255", report=tmp_path / "r", **QUICK)
    tried = [(each.attacker.countermeasure, round(each.attacker.rho_a * 255)) for each in found.attackers]
    assert sorted(tried) == [(name, rho) for name in ("grey", "jpeg-10", "none") for rho in (0, 2)]
    (left,) = [line for line in found.not_tried if line.startswith("countermeasures")]
    assert "jpeg-50" in left
    assert "grey" not in left.replace("countermeasures: ", "").split(", ")
    asked = semshard.verify(finished / "shards", rho_a="2/255", report=tmp_path / "r", **PLAIN)
    assert [each.attacker.name for each in asked.attackers] == ["small, adversarial training at 2/255"]


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


def test_the_verdict_says_whether_the_radius_that_theory_asks_for_was_tried(verified, tmp_path):
    home, found = verified
    assert "at least that of the noise, 8/255" in found.verdict["theory"]
    assert "It was not tried at such a radius; the largest was 2/255" in found.verdict["theory"]
    assert found.verdict["theory"] in (home / "shards.report" / "report.html").read_text()
    beyond = semshard.verify(home / "shards", rho_a="8/255", report=tmp_path / "r", **PLAIN)
    (each,) = beyond.attackers
    assert f"It was tried, and reaches {each.data['protected'].best:.1%} at 8/255" in beyond.verdict["theory"]
    assert beyond.to_json()["rho_u"] == "8/255"


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


def test_the_strongest_attacker_trains_longer(finished, tmp_path):
    grid = {"rho_a": "0,2/255", **PLAIN}
    usual = semshard.verify(finished / "shards", report=tmp_path / "r", **grid)
    events = []
    found = semshard.verify(finished / "shards", report=tmp_path / "r", longer=3, progress=events.append, **grid)
    assert len(found.attackers) == 3
    last = found.attackers[-1]
    assert last.attacker == replace(usual.strongest.attacker, longer=3)
    assert f"after {3 * RECIPE['steps']} steps" in last.sentence
    assert all(result.curve[-1].step == 3 * RECIPE["steps"] for result in last.data["protected"].seeds)
    assert len(trained_phases(events)) == 3, "nobody else is trained again"
    assert [each.data for each in found.attackers[:2]] == [each.data for each in usual.attackers]
    assert "3 times the steps" in (tmp_path / "r" / "report.html").read_text()


def test_a_victim_says_which_test_images_it_classified_correctly_at_its_best(verified):
    _, found = verified
    for result in found.results:
        assert len(result.correct) == found.samples["test"]
        assert sum(result.correct) == pytest.approx(result.best * len(result.correct), abs=1e-2)


def test_victims_are_trained_at_once_where_that_is_worth_the_start_of_processes(finished, tmp_path):
    set_cores(3)
    try:
        for recipe, jobs in ((RECIPE, 1), ({}, 3)):
            inputs = opened_inputs(finished / "shards", tmp_path / str(jobs), rho_a="0,2/255", **recipe)
            assert suited_workers(inputs.dataset, inputs.trainer, list(grid(inputs.trainer.config))) == jobs
    finally:
        set_cores(None)


@contextmanager
def counted_calls(function):
    """Counts the calls of a Python function in this thread, which run as they are."""
    calls = []
    sys.setprofile(lambda frame, event, _: calls.append(1) if (event, frame.f_code) == ("call", code) else None)
    code = function.__code__
    try:
        yield calls
    finally:
        sys.setprofile(None)


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


def test_unbalanced_classes_have_a_majority_line(images, tmp_path):
    classes = sorted(path for path in images.iterdir() if path.is_dir())
    for number in range(30):
        Image.fromarray(draw_shape(1000 + number)).save(classes[0] / f"more-{number}.png")
    semshard.protect(images, tmp_path / "s", **TINY)
    found = semshard.verify(tmp_path / "s", rho_a="0", **PLAIN)
    assert found.majority > 0.2
    assert f"(base: {found.majority:.1%})" in found.attackers[0].sentence


def test_a_report_needs_complete_shards_and_is_never_written_among_them(finished):
    shards = finished / "shards"
    with pytest.raises(semshard.OutputError, match="is inside the shards"):
        semshard.verify(shards, report=shards / "report", rho_a="0", **PLAIN)
    assert semshard.audit(shards).ok
    tar = shards / "00001.tar"
    tar.write_bytes(tar.read_bytes() + b"\0" * 512)
    with pytest.raises(semshard.ShardError, match=r"00001\.tar is not the tar that the manifest names"):
        semshard.verify(shards, rho_a="0", **PLAIN)


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


def test_what_shows_the_same_is_on_one_side_of_the_split(finished, tmp_path):
    images = finished / "images"
    for path in list(images.rglob("*.png")):
        brighter = np.asarray(Image.open(path).convert("RGB")).astype(int) + 9
        Image.fromarray(brighter.clip(0, 255).astype(np.uint8)).save(path.with_name(f"twin-{path.name}"))
    semshard.protect(images, finished / "twins", **TINY)
    remarks = []
    dataset = open_inputs(
        VerifyRequest(finished / "twins", preset="quick", report=tmp_path / "r", progress=remarks.append)
    ).dataset
    assert (dataset.train.sum() + dataset.test.sum(), dataset.test.any()) == (80, True)
    train, test = (dataset.clean[mask].astype(int) for mask in (dataset.train, dataset.test))
    for image in test:
        assert np.abs(train - image).mean((1, 2, 3)).min() > 10
        others = np.abs(test - image).mean((1, 2, 3))
        assert (others < 10).sum() == 2, "itself and its twin"
    assert any("40 of 80 samples show what another one shows" in event.message for event in remarks)


def test_the_split_does_not_depend_on_how_many_samples_there_are(finished, verified):
    _, found = verified
    again = semshard.verify(finished / "shards", rho_a="0", **PLAIN)
    assert again.samples == found.samples
    assert again.results[0].curve == found.results[0].curve
    assert again.not_tried != found.not_tried, "adversarial training was not tried"


def test_the_control_is_as_large_as_the_budget_and_means_nothing():
    clean = np.full((50, 16, 16, 3), 128, np.uint8)
    noise = control(clean, 8, 0).astype(int) - 128
    assert set(np.unique(noise)) == set(range(-8, 9))
    assert abs(noise.mean()) < 0.1
    assert np.array_equal(control(clean, 8, 0), control(clean, 8, 0))
    assert control(np.zeros((1, 4, 4, 3), np.uint8), 8, 0).max() <= 8


def test_without_ledger_and_clean_it_says_what_is_missing(finished):
    shutil.rmtree(finished / "shards.ledger")
    with pytest.raises(semshard.LedgerError, match=r"shards\.ledger does not exist; give --clean"):
        semshard.verify(finished / "shards", **PLAIN)
    assert semshard.verify(finished / "shards", clean=finished / "images", rho_a="0", **PLAIN).samples["test"] > 0


def test_the_report_is_complete_private_and_tied_to_the_manifest(verified):
    import hashlib

    home, found = verified
    folder = home / "shards.report"
    assert folder.stat().st_mode & 0o777 == 0o700
    report = json.loads((folder / "report.json").read_text())
    assert report["manifest_sha256"] == hashlib.sha256((home / "shards/manifest.json").read_bytes()).hexdigest()
    final = [figures["final"] for each in report["attackers"] for figures in each["data"].values()]
    assert final == [r.final for r in found.results]
    assert report["attackers"][1]["rho_a"] == "2/255"
    assert report["schema_version"] == 7
    assert report["verdict"] == found.verdict
    assert len(report["noise"]["ssim"]["values"]) == 40
    statement = json.loads((folder / "report.intoto.json").read_text())
    assert statement["subject"] == [{"name": "manifest.json", "digest": {"sha256": report["manifest_sha256"]}}]
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    (of_report,) = statement["predicate"]["configuration"]
    assert of_report["digest"]["sha256"] == hashlib.sha256((folder / "report.json").read_bytes()).hexdigest()
    tests = [name for result in ("passed", "warned", "failed") for name in statement["predicate"][f"{result}Tests"]]
    assert sorted(tests) == sorted(each.attacker.name for each in found.attackers)
    assert not [path for path in (home / "shards").iterdir() if "report" in path.name]


def test_a_report_cannot_be_passed_off_for_other_shards(verified, images, tmp_path):
    home, _ = verified
    report = home / "shards.report"
    assert semshard.audit(home / "shards", report=report).ok
    semshard.protect(images, tmp_path / "others", **(TINY | {"rho_u": "4/255"}))
    (failure,) = semshard.audit(tmp_path / "others", report=report).failures
    assert (failure.where, failure.problem.split(":")[0]) == ("report.intoto.json", "belongs to other shards")
    genuine = (report / "report.json").read_text()
    assert '"verdict": "' in genuine
    (report / "report.json").write_text(genuine.replace('"verdict": "', '"verdict": "really '))
    (failure,) = semshard.audit(home / "shards", report=report).failures
    assert failure.where == "report.json"
    (report / "report.intoto.json").unlink()
    assert "missing" in semshard.audit(home / "shards", report=report).failures[0].problem


def test_the_page_contains_everything_it_shows(verified):
    home, found = verified
    page = (home / "shards.report" / "report.html").read_text()

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(value for name, value in attrs if name in ("src", "href"))

    links = []
    Links().feed(page)
    assert len(links) >= 3
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"url\((?!data:)|@import", page)
    for each in found.attackers:
        assert each.attacker.name in page
    assert found.verdict["sentence"] in page
    for line in found.not_tried:
        assert line in page
    assert str(home) not in page


def test_too_few_samples_to_hold_any_out(finished):
    with pytest.raises(semshard.ShardError, match="too few to hold out"):
        semshard.verify(finished / "shards", rho_a="0", **(PLAIN | {"holdout": 1e-9}))
