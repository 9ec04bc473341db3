"""A surrogate that was trained before, by train or by another run."""

import json
import os

import pytest
import torch

import semshard
from semshard.engine import load_tensors, save_tensors
from tests.support.runs import TINY, public_bytes


def test_a_surrogate_can_be_trained_first_and_used_later(finished):
    path = semshard.train(finished / "images", finished / "s.safetensors", **TINY)
    assert not (finished / "s.safetensors.checkpoint").exists()
    result = semshard.protect(finished / "images", finished / "again", surrogate=path, **TINY)
    assert result.seconds["surrogate"] < 5
    assert public_bytes(finished / "again")["00000.tar"] == public_bytes(finished / "shards")["00000.tar"]
    with pytest.raises(semshard.OutputError, match="exists"):
        semshard.train(finished / "images", path, **TINY)


def test_the_manifest_names_the_settings_that_a_given_surrogate_was_trained_with(finished):
    path = finished / "shards.ledger" / "surrogate.safetensors"
    semshard.protect(finished / "images", finished / "again", surrogate=path, final_steps=1)
    settings = json.loads((finished / "again" / "manifest.json").read_text())["settings"]
    found = {name: settings[name] for name in ("steps", "batch", "rho_a", "preset", "final_steps")}
    assert found == {"steps": 3, "batch": 16, "rho_a": "2/255", "preset": "quick", "final_steps": 1}
    with pytest.raises(semshard.SettingError, match="was trained with steps = 3, not 9"):
        semshard.protect(finished / "images", finished / "third", surrogate=path, steps=9)


@pytest.mark.slow
def test_a_surrogate_that_was_trained_first_gives_the_same_noise(tmp_path, images):
    given = {"views": "hardened", "push_steps": 2} | {
        name: value for name, value in TINY.items() if name != "final_draws"
    }
    semshard.protect(images, tmp_path / "at once", **given)
    semshard.train(images, tmp_path / "surrogate.safetensors", **given)
    del given["views"]
    semshard.protect(images, tmp_path / "later", surrogate=tmp_path / "surrogate.safetensors", **given)
    assert public_bytes(tmp_path / "at once") == public_bytes(tmp_path / "later")


def test_a_surrogate_of_other_classes_is_refused(finished):
    path = finished / "shards.ledger" / "surrogate.safetensors"
    os.rename(finished / "images" / "disc", finished / "images" / "circle")
    with pytest.raises(semshard.SettingError, match="was trained for classes"):
        semshard.protect(finished / "images", finished / "again", surrogate=path, **TINY)


def test_no_pickle_is_ever_loaded_as_weights(finished):

    torch.save({"a": torch.zeros(1)}, finished / "evil.pt")
    with pytest.raises(semshard.LedgerError, match="no weights written by semshard"):
        semshard.protect(finished / "images", finished / "again", surrogate=finished / "evil.pt", **TINY)


def test_a_surrogate_of_another_version_is_refused_in_words(finished):
    surrogate = finished / "shards.ledger" / "surrogate.safetensors"
    tensors, about = load_tensors(surrogate)
    del about["settings"]["warm_up"]
    save_tensors(finished / "old.safetensors", tensors, about)
    with pytest.raises(semshard.LedgerError, match="another version of semshard: it lacks warm_up"):
        semshard.protect(finished / "images", finished / "again", surrogate=finished / "old.safetensors")
