"""What victims are trained and tested on: nobody sees in training what he is tested on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import semshard
from semshard.progress import silent
from semshard.settings import verify_config
from semshard.shards import open_shards
from semshard.verification.dataset import control
from semshard.verification.grid import grid, with_data
from semshard.verification.inputs import open_inputs
from semshard.verification.load import load_dataset, required_originals
from semshard.verification.request import VerifyRequest
from semshard.victims import Attacker
from tests.support.runs import TINY
from tests.support.verification import PLAIN, RECIPE, opened_inputs


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


def test_so_many_samples_are_used_as_were_asked_for_and_more_of_them_include_fewer(finished):
    shards, before = open_shards(finished / "shards"), set()
    originals = required_originals(shards, None)
    for most in (7, 8, 20, 39, 40, 50, 0):
        config = verify_config("quick", shards.size, "float32", {"max_samples": most, "holdout": 0.5})
        keys = set(load_dataset(shards, originals, config, silent).keys)
        assert len(keys) == min(most or 40, 40)
        assert keys >= before
        before = keys


def test_the_control_is_as_large_as_the_budget_and_means_nothing():
    clean = np.full((50, 16, 16, 3), 128, np.uint8)
    noise = control(clean, 8, 0).astype(int) - 128
    assert set(np.unique(noise)) == set(range(-8, 9))
    assert abs(noise.mean()) < 0.1
    assert np.array_equal(control(clean, 8, 0), control(clean, 8, 0))
    assert control(np.zeros((1, 4, 4, 3), np.uint8), 8, 0).max() <= 8


def test_too_few_samples_to_hold_any_out(finished):
    with pytest.raises(semshard.ShardError, match="too few to hold out"):
        semshard.verify(finished / "shards", rho_a="0", **(PLAIN | {"holdout": 1e-9}))
