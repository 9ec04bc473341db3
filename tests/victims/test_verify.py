"""Verifying: the same recipe for every victim, clean images that none of them saw, and a report that opens anywhere."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

import semshard
from semshard._verify import control
from semshard.engine import make_runtime
from semshard.presets import verify_config
from semshard.victims import Labelled, train_victim, verdict
from tests.conftest import TINY

QUICK = {"preset": "quick", "steps": 4, "batch": 8, "steps_a": 1, "evaluations": 2, "holdout": 0.3}


@pytest.fixture
def verified(finished):
    return finished, semshard.verify(finished / "shards", rho_a=["0", "2/255"], **QUICK)


def test_every_radius_has_a_clean_a_protected_and_a_control_victim(verified):
    _, found = verified
    assert [(r.rho_a, r.data) for r in found.results] == [
        (rho, data) for rho in (0, 2 / 255) for data in ("clean", "protected", "control")
    ]
    for result in found.results:
        assert 0 <= result.final <= result.best <= 1
        assert 0 <= result.train <= 1
        assert [point.step for point in result.curve] == [2, 4]
    assert found.chance == 0.1
    assert found.samples["train"] + found.samples["test"] == 40
    assert len(found.verdict) == 2


def test_held_out_images_are_in_no_training(finished, monkeypatch):
    """By the pixels that really reach the training, not by what a split says of itself."""
    seen = []

    def spy(runtime, train, test, *rest):
        seen.append((train, test))
        return train_victim(runtime, train, test, *rest)

    monkeypatch.setattr("semshard._examine.train_victim", spy)
    semshard.verify(finished / "shards", rho_a="0", **QUICK)
    tests = {image.numpy().tobytes() for _, test in seen for image in test.images}
    (clean, exam), (protected, _), (noisy, _) = seen
    assert len(tests) == len(exam.labels)
    for lesson in (clean, protected, noisy):
        assert not tests & {image.numpy().tobytes() for image in lesson.images}
        for image in lesson.images:  # nor a protected or noisy form of one
            nearest = (exam.images.int() - image.int()).abs().amax((1, 2, 3)).min()
            assert nearest > 8
        assert torch.equal(lesson.labels, clean.labels)
    assert (clean.images.int() - protected.images.int()).abs().max() == 8
    assert (clean.images.int() - noisy.images.int()).abs().max() == 8


def test_twins_of_training_images_are_not_tested_on(finished):
    images = finished / "images"
    for path in list(images.rglob("*.png")):
        shutil.copy(path, path.with_name(f"twin-{path.name}"))
    semshard.protect(images, finished / "twins", **TINY)
    twins = semshard.verify(finished / "twins", rho_a="0", **QUICK).samples
    assert twins["train"] + twins["test"] < 80
    assert twins["test"] > 0


def test_the_split_does_not_depend_on_how_many_samples_there_are(finished, verified):
    _, found = verified
    again = semshard.verify(finished / "shards", rho_a="0", **QUICK)
    assert again.samples == found.samples
    assert again.results[0].curve == found.results[0].curve


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
        semshard.verify(finished / "shards", **QUICK)
    assert semshard.verify(finished / "shards", clean=finished / "images", rho_a="0", **QUICK).samples["test"] > 0


def test_the_report_is_complete_private_and_tied_to_the_manifest(verified):
    import hashlib

    home, found = verified
    folder = home / "shards.report"
    assert folder.stat().st_mode & 0o777 == 0o700
    report = json.loads((folder / "report.json").read_text())
    assert report["manifest_sha256"] == hashlib.sha256((home / "shards/manifest.json").read_bytes()).hexdigest()
    assert [r["final"] for r in report["results"]] == [r.final for r in found.results]
    assert report["results"][3]["rho_a"] == "2/255"
    assert not [path for path in (home / "shards").iterdir() if "report" in path.name]


def test_the_page_carries_everything_it_shows(verified):
    home, found = verified
    page = (home / "shards.report" / "report.html").read_text()

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(value for name, value in attrs if name in ("src", "href"))

    links = []
    Links().feed(page)
    assert len(links) >= 3
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"url\((?!data:)|@import|<script", page)
    for sentence in found.verdict:
        assert sentence in page
    assert str(home) not in page


def test_too_few_samples_to_hold_any_out(finished):
    with pytest.raises(semshard.ShardError, match="too few to hold out"):
        semshard.verify(finished / "shards", rho_a="0", **(QUICK | {"holdout": 1e-9}))


@pytest.mark.parametrize(
    ("protected", "words"),
    [(0.25, "little"), (0.45, "clearly less"), (0.68, "do not protect"), (0.9, "do not protect")],
)
def test_the_verdict_follows_its_rule(protected, words):
    assert words in verdict("2/255", {"clean": 0.7, "protected": protected, "control": 0.69}, 0.1)


def test_no_verdict_where_the_victim_learned_nothing_from_the_originals():
    assert "too little" in verdict("0/255", {"clean": 0.15, "protected": 0.1, "control": 0.1}, 0.1)


@pytest.mark.slow
def test_a_victim_learns_shapes_and_an_adversarial_one_withstands_its_adversary():
    """The recipe works: far above chance on images it never saw."""
    from semshard.sources.shapes import draw_shape

    runtime = make_runtime("cpu")
    pictures = torch.from_numpy(np.stack([draw_shape(n) for n in range(1200)])).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(1200) % 10
    train, test = Labelled(pictures[:1000], labels[:1000]), Labelled(pictures[1000:], labels[1000:])
    config = verify_config("quick", (32, 32), runtime.precision, {"steps": 250, "lr_every": 100, "evaluations": 5})
    curve = train_victim(runtime, train, test, 10, config, 0.0).curve
    assert curve[-1].test > 0.3
    assert curve[-1].test > curve[0].test
