"""Every method end to end: written, audited, named."""

import json

import pytest

import semshard
from semshard.settings import METHODS
from tests.support.runs import TINY, public_bytes

NAMED = [name for name in METHODS if name != "cell"]


@pytest.mark.slow
@pytest.mark.parametrize("method", NAMED)
def test_every_method_is_written_audited_and_named(method, images, tmp_path):
    done = semshard.protect(images, tmp_path / "out", method=method, **TINY)
    assert (done.samples, done.linf_max) == (40, 8 if method != "ntga" else 3), "NTGA takes three steps of 0.88/255"
    assert semshard.audit(tmp_path / "out").ok
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
    assert settings["method"] == method
    assert ("network" in settings) == (method not in ("ntga", "sc"))
    assert ("noise_step" in settings) == (method not in ("ntga", "sc", "tap"))
    again = semshard.protect(images, tmp_path / "again", method=method, **TINY)
    assert again.fingerprint == done.fingerprint
    assert public_bytes(tmp_path / "again") == public_bytes(tmp_path / "out")
    other = semshard.protect(images, tmp_path / "other", method=method, **{**TINY, "seed": 1})
    assert other.fingerprint != done.fingerprint
    assert (tmp_path / "other" / "00000.tar").read_bytes() != (tmp_path / "out" / "00000.tar").read_bytes()


def test_a_cell_without_a_name_can_be_asked_for(images, tmp_path):
    semshard.protect(images, tmp_path / "out", noise_step="pgd", model_step="random", **TINY)
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
    found = {name: settings[name] for name in ("method", "noise_step", "model_step")}
    assert found == {"method": "cell", "noise_step": "pgd", "model_step": "random"}
    assert semshard.audit(tmp_path / "out").ok


@pytest.mark.parametrize("method", ["ntga", "sc"])
def test_methods_without_a_surrogate_refuse_one(method, images, tmp_path):
    with pytest.raises(semshard.SettingError, match="has no surrogate to train"):
        semshard.train(images, tmp_path / "s.safetensors", method=method, **TINY)
    semshard.train(images, tmp_path / "s.safetensors", **TINY)
    for given, found in (({"method": method}, method), ({"noise_step": "pgd"}, "rem")):
        with pytest.raises(semshard.SettingError, match=f"was trained with method = sem, not {found}"):
            semshard.protect(images, tmp_path / "out", surrogate=tmp_path / "s.safetensors", **{**TINY, **given})


def test_a_surrogate_brings_its_method_along(images, tmp_path):
    semshard.train(images, tmp_path / "s.safetensors", method="rem-theta", **TINY)
    semshard.protect(images, tmp_path / "out", surrogate=tmp_path / "s.safetensors", seed=TINY["seed"])
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]["method"] == "rem-theta"


def test_a_block_that_is_too_large_is_refused_and_the_advice_can_be_taken(images, tmp_path):
    large = {**TINY, "method": "ntga", "craft_batch": 64, "shard_size": 100}
    with pytest.raises(semshard.SettingError, match="leaves none of 40; set --craft-batch to 20 or less"):
        semshard.protect(images, tmp_path / "out", **large)
    assert semshard.protect(images, tmp_path / "out", **{**large, "craft_batch": 20}).samples == 40


def test_the_dry_run_knows_methods_without_a_surrogate(images, tmp_path):
    plan = semshard.plan(images, tmp_path / "out", method="sc", **TINY)
    assert plan.seconds["surrogate"] == 0
    assert plan.settings["method"] == "sc"
    assert semshard.plan(images, tmp_path / "out", method="ntga", **TINY).seconds["craft"] > 0
    rem = semshard.plan(images, tmp_path / "out", method="rem", **TINY)
    assert rem.seconds["surrogate"] > 0
    assert plan.flop == {}
    passes = TINY["steps"] * TINY["batch"]
    assert rem.flop["surrogate"] > 3 * passes * rem.flop["forward"] > 0
    assert rem.flop["craft"] > 0


def test_methods_are_listed_with_their_costs():
    found = {method.name: method for method in semshard.methods()}
    assert set(found) == set(NAMED)
    assert found["sem"].cost == 1
    assert found["rem"].cost == pytest.approx(9.2, abs=0.1)
    assert found["sc"].cost is None is found["ntga"].cost
    with pytest.raises(semshard.SettingError, match="preset"):
        semshard.methods("slow")
