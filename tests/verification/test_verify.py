"""Verifying: the same recipe for every victim, clean images that none of them saw, and a verdict in words."""

import shutil

import pytest
from PIL import Image

import semshard
from semshard.sources.shapes import draw_shape
from tests.support.runs import TINY
from tests.support.verification import PLAIN


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


@pytest.mark.slow
def test_the_verdict_says_whether_the_radius_that_theory_asks_for_was_tried(verified, tmp_path):
    home, found = verified
    assert "at least that of the noise, 8/255" in found.verdict["theory"]
    assert "It was not tried at such a radius; the largest was 2/255" in found.verdict["theory"]
    assert found.verdict["theory"] in (home / "shards.report" / "report.html").read_text()
    beyond = semshard.verify(home / "shards", rho_a="8/255", report=tmp_path / "r", **PLAIN)
    (each,) = beyond.attackers
    assert f"It was tried, and reaches at best {each.data['protected'].best:.1%} at 8/255" in beyond.verdict["theory"]
    assert beyond.to_json()["rho_u"] == "8/255"


def test_a_victim_says_which_test_images_it_classified_correctly_at_its_best(verified):
    _, found = verified
    for result in found.results:
        assert len(result.correct) == found.samples["test"]
        assert sum(result.correct) == pytest.approx(result.best * len(result.correct), abs=1e-2)


def test_unbalanced_classes_have_a_majority_line(images, tmp_path):
    classes = sorted(path for path in images.iterdir() if path.is_dir())
    for number in range(30):
        Image.fromarray(draw_shape(1000 + number)).save(classes[0] / f"more-{number}.png")
    semshard.protect(images, tmp_path / "s", **TINY)
    found = semshard.verify(tmp_path / "s", rho_a="0", **PLAIN)
    assert found.majority > 0.2
    assert f"(base: {found.majority:.1%})" in found.attackers[0].sentence


def test_without_ledger_and_clean_it_says_what_is_missing(finished):
    shutil.rmtree(finished / "shards.ledger")
    with pytest.raises(semshard.LedgerError, match=r"shards\.ledger does not exist; give --clean"):
        semshard.verify(finished / "shards", **PLAIN)
    assert semshard.verify(finished / "shards", clean=finished / "images", rho_a="0", **PLAIN).samples["test"] > 0
