"""Photographs that were protected: verified, previewed, swept, and those without labels put into groups."""

import json

import numpy as np
import pytest
from PIL import Image

import semshard
from semshard.progress import silent
from semshard.sources import open_source, squash
from semshard.verification.load import open_dataset, with_test
from semshard.victims import BY_NAME
from tests.support.photo_runs import (
    FAST,
    VERIFY,
    flat,
    manifest,
    passes,
    photo,
    pixels,
    protect,
    sources_of,
    write_photos,
)
from tests.support.verification import opened_inputs

PHOTOGRAPHS = 60


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A finished output of photographs of different sizes in two classes, enough to hold out some of them twice."""
    home = tmp_path_factory.mktemp("photographs")
    write_photos(home / "images", each=PHOTOGRAPHS // 2)
    protect(home / "images", home / "out", shard_size=20)
    return home / "out"


def is_measured(accuracy, images):
    """Whether an accuracy is a number of correct predictions of so many images."""
    correct = accuracy * images
    return 0 <= round(correct) <= images and abs(correct - round(correct)) < 1e-4


def check_results(verified):
    """Every victim was tested on the same images, which together with its training images are all photographs."""
    assert {victim.data for victim in verified.results} >= {"clean", "protected", "control"}
    for victim in verified.results:
        assert is_measured(victim.final, verified.samples["test"])
        assert is_measured(victim.best, verified.samples["test"])
        assert victim.final <= victim.best
        assert min(victim.per_class) - 1e-4 <= victim.final <= max(victim.per_class) + 1e-4  # rounded to four digits
        assert victim.curve[-1].train == victim.train


@pytest.mark.slow
def test_photographs_are_verified_and_reported(photographs, tmp_path):
    verified = semshard.verify(
        photographs, report=tmp_path / "report", countermeasure="none,grey,early-stop", protected_fraction="1,0.5",
        patience="2", clean_share="0,0.5", **VERIFY,
    )  # fmt: skip
    assert {(each.attacker.countermeasure, each.attacker.fraction) for each in verified.attackers} == {
        (countermeasure, fraction) for countermeasure in ("none", "grey", "early-stop") for fraction in (1, 0.5)
    }
    check_results(verified)
    assert verified.samples["train"] + verified.samples["test"] == PHOTOGRAPHS
    assert "<html" in (tmp_path / "report" / "report.html").read_text()
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["samples"] == verified.samples
    assert [attacker["name"] for attacker in report["attackers"]] == [a.attacker.name for a in verified.attackers]
    assert semshard.audit(photographs, report=tmp_path / "report").ok


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A folder of eight other photographs of the two classes."""
    folder = tmp_path_factory.mktemp("others")
    for number in range(200, 208):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.fromarray(photo(number)).save(folder / "ab"[number % 2] / f"{number}.png")
    return folder


def test_a_table_of_photographs_is_made_with_others_to_test_on(photographs, others, tmp_path):
    victim = {name: value for name, value in VERIFY.items() if name not in ("preset", "rho_a", "holdout")}
    result = semshard.reproduce(
        "table2", photographs.parent / "images", tmp_path / "out", dataset="imagenet100", cells=["Clean Data:0"],
        test=others, device="cpu", **victim,
    )  # fmt: skip
    assert result.samples == {"train": PHOTOGRAPHS, "test": 8}
    assert is_measured(result.cells[0].ours / 100, 8)


def test_victims_are_tested_on_photographs_of_another_folder_filtered_as_they_are(photographs, others, tmp_path):
    settings = {name: value for name, value in VERIFY.items() if name != "preset"}
    inputs = opened_inputs(photographs, tmp_path / "report", **settings)
    dataset = with_test(inputs.dataset, inputs.shards, open_source(str(others)), str(others), silent)
    assert (dataset.train.sum(), dataset.test.sum()) == (PHOTOGRAPHS, 8)
    side = dataset.photos.side
    for each in (dataset, open_dataset(dataset.place)):
        for countermeasure, change in (("none", lambda pixels: pixels), ("gaussian", BY_NAME["gaussian"].filter)):
            test = each.data("protected", countermeasure).test
            shown = {image.permute(1, 2, 0).numpy().tobytes() for image in test.images}
            assert shown == {squash(change(photo(number)), side).tobytes() for number in range(200, 208)}
            assert {tuple(size) for size in test.sizes.tolist()} == {photo(n).shape[:2] for n in range(200, 208)}


@pytest.mark.slow
def test_a_preview_shows_photographs(photographs, tmp_path):
    semshard.preview(photographs, tmp_path / "sheet.png")
    assert min(pixels((tmp_path / "sheet.png").read_bytes()).shape[:2]) > 100


@pytest.mark.slow
def test_methods_are_swept_on_photographs(photographs, tmp_path):
    victim = {name: value for name, value in VERIFY.items() if name != "preset"}
    result = semshard.sweep(
        photographs.parent / "images", tmp_path / "sweep", "method", ["sem", "sc"], victim=victim, **FAST
    )
    assert result.values == ["sem", "sc"]
    assert [cell.value for cell in result.cells] == [None, "sem", "sc"]
    assert all(is_measured(cell.final, result.samples["test"]) for cell in result.cells)
    assert pixels((tmp_path / "sweep" / "sweep.png").read_bytes()).size
    passes(tmp_path / "sweep" / "method=sc", PHOTOGRAPHS)


def write_two_kinds(folder):
    """Flat and unlabelled: dark smooth pictures and bright noisy ones, of different sizes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(12):
        size = 80 + number, 100 - number
        picture = photo(number) // 4 if number % 2 else random.integers(150, 256, (*size, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")


GROUPED = {"options": semshard.SourceOptions(labels="auto"), "groups": 2}


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A finished output of two groups; images/ lies beside it."""
    home = tmp_path_factory.mktemp("grouped")
    write_two_kinds(home / "images")
    protect(home / "images", home / "out", **GROUPED)
    return home / "out"


@pytest.mark.slow
def test_a_flat_folder_without_labels_is_grouped_and_says_so(grouped, tmp_path):
    out = grouped
    assert manifest(out)["labels"] == {"from": "groups", "groups": 2, "experimental": True}
    assert manifest(out)["classes"] == ["group-0", "group-1"]
    named = sources_of(out)
    kinds = {(int(named[key].split(".")[0]) % 2, parts["cls"]) for key, parts in flat(out).items()}
    assert len(kinds) == 2, "what looks different is in different groups"
    passes(out, 12)
    verified = semshard.verify(out, report=tmp_path / "report", **VERIFY)
    check_results(verified)


@pytest.mark.slow
def test_grouping_does_not_change_when_a_run_continues(grouped):
    before = {path.name: path.read_bytes() for path in grouped.iterdir()}
    (grouped / "00001_stats.json").unlink()
    assert protect(grouped.parent / "images", grouped, **GROUPED).made == 1
    assert {path.name: path.read_bytes() for path in grouped.iterdir()} == before
