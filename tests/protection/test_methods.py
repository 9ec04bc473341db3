"""Every method end to end: written, audited, named; and doing what its paper claims, as far as a small run can show."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

import semshard
from semshard.engine import make_runtime
from semshard.noise.methods.ntga import learn, predict
from semshard.settings import METHODS, verify_config
from semshard.shards import open_shards
from semshard.sources.shapes import write_shapes
from semshard.verification.dataset import load_dataset, required_originals
from semshard.verification.trainer import VictimTrainer
from tests.support.runs import TINY, public_bytes, real

NAMED = [name for name in METHODS if name != "cell"]


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


# --- what the papers claim: on drawn pictures --------------------------------------------------------------------

CLASSES = ("bars", "cross", "disc", "triangle")
RHO = 4 / 255
RECIPE = {"rho_a": [0, RHO], "steps": 300, "lr_every": 150, "steps_a": 3, "evaluations": 2, "holdout": 0.25, "seed": 4}
SMALL = {"preset": "quick", "steps": 300, "lr_every": 120, "seed": 11}
OWN = {
    "rem": {"steps": 150, "lr_every": 60, "final_steps": 5, "final_alpha": "3.2/255"},
    "tap": {"steps": 800, "lr_every": 320},
}
# Drawn pictures are easy, and TAP at 8/255 takes 4 to 16 points of a victim of them, by seed and processor.
DRAWN = OWN | {"tap": OWN["tap"] | {"rho_u": "16/255"}}


def four_classes(home, count):
    """`count` drawn pictures of four classes; ten are more than a small victim learns adversarially in a minute."""
    write_shapes(home, count * 10 // len(CLASSES))
    for folder in home.iterdir():
        if folder.name not in CLASSES:
            shutil.rmtree(folder)
    return home


def accuracies(images, home, methods, recipe, settings, own=OWN):
    """Final test accuracy of victims by method ("clean" for the originals) and radius."""
    runtime = make_runtime("cpu")
    config = verify_config("quick", (32, 32), runtime.precision, recipe)
    found = {}
    for method in methods:
        semshard.protect(images, home / method, method=method, **(settings | own.get(method, {})))
        shards = open_shards(home / method)
        dataset = load_dataset(shards, required_originals(shards, None), config, lambda event: None)
        trainer = VictimTrainer(runtime, config, len(shards.classes), lambda event: None)
        for name, kind in {method: "protected", **({} if found else {"clean": "clean"})}.items():
            for rho in config.rho_a:
                victim, _ = trainer.train(name, dataset.data(kind), trainer.plain(rho), config.seed)
                found[name, rho] = victim.final
    return found


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    home = tmp_path_factory.mktemp("claims")
    return accuracies(
        four_classes(home / "images", 2400), home, ("sem", "em-aligned", "rem", "tap"), RECIPE, SMALL, DRAWN
    )


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("method", ["em-aligned", "tap", "rem", "sem"])
def test_standard_victims_fall_well_below_clean(drawn, method):
    assert drawn[method, 0.0] < drawn["clean", 0.0] - 0.1, drawn


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("method", ["rem", "sem"])
def test_adversarial_victims_stay_below_clean(drawn, method):
    assert drawn[method, RHO] < drawn["clean", RHO] - 0.1, drawn


def faint(count, seed, pattern, grain):
    """uint8 pictures of four classes and labels: a faint colour pattern for each class under grain, in grey levels."""
    patterns = np.random.default_rng(0).integers(-1, 2, (4, 4, 4, 3)).repeat(8, 1).repeat(8, 2) * pattern
    random, labels = np.random.default_rng(seed), np.arange(count) % 4
    grey = random.normal(128, grain, (count, 32, 32, 3))
    return np.clip(grey + patterns[labels], 0, 255).astype(np.uint8), labels


def victims_of(method, home, features, fit, **drawn):
    """Accuracies on unseen pictures of a victim that learnt from 300 protected pictures, and from their originals."""
    for number, (picture, label) in enumerate(zip(*faint(600, 1, **drawn), strict=True)):
        (home / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(home / "images" / str(label) / f"{number}.png")
    given = {"preset": "quick", "craft_batch": 300, "shard_size": 300, "seed": 3}
    semshard.protect(home / "images", home / "out", method=method, **given)
    opened = open_shards(home / "out")
    samples = [opened[number] for number in range(300)]
    pixels, keys, _ = required_originals(opened, None).pictures([sample.key for sample in samples])
    assert keys == [sample.key for sample in samples]
    labels, (unseen, answers) = np.array([sample.label for sample in samples]), faint(1000, 2, **drawn)
    both = {"clean": np.stack(pixels), "protected": np.stack([sample.image for sample in samples])}
    return {
        name: float((fit(features(seen / 255.0), labels)(features(unseen / 255.0)) == answers).mean())
        for name, seen in both.items()
    }


def test_a_linear_victim_takes_the_shortcut(tmp_path):
    """What synthesised shortcuts are made for; the victim sees the means of patches."""

    def patches(pixels):
        return pixels.reshape(len(pixels), 4, 8, 4, 8, 3).mean((2, 4)).reshape(len(pixels), -1)

    def fit(x, y):
        return LogisticRegression(C=1e4, max_iter=5000).fit(x, y).predict

    found = victims_of("sc", tmp_path, patches, fit, pattern=2, grain=40)
    assert found["protected"] < found["clean"] - 0.3, found


def test_a_wide_network_learns_little_from_a_block_with_ntga(tmp_path):
    """A network of the kind that the noise is made with, infinitely wide, on pictures that took no part in it."""

    def fit(x, y):
        x = torch.from_numpy(x)
        learnt = learn(x, torch.nn.functional.one_hot(torch.from_numpy(y)).double())
        return lambda v: predict(x, learnt, torch.from_numpy(v)).argmax(1).numpy()

    found = victims_of("ntga", tmp_path, lambda pixels: pixels.reshape(len(pixels), -1), fit, pattern=4, grain=10)
    assert found["protected"] < found["clean"] - 0.3, found


# --- and on real ones, with the settings of the README's table ----------------------------------------------------


@pytest.fixture(scope="module")
def photographed(tmp_path_factory):
    if not os.environ.get("SEMSHARD_TEST_CLAIMS"):
        pytest.skip("takes twenty minutes; set SEMSHARD_TEST_CLAIMS")
    recipe = {"rho_a": [0, RHO], "seed": 0}
    methods = ("sem", "em", "em-aligned", "sc", "ntga", "tap", "rem")
    home = tmp_path_factory.mktemp("real")
    return accuracies(real("cifar10") / "test", home, methods, recipe, {"preset": "quick", "seed": 0})


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("method", ["em-aligned", "tap", "sc", "ntga", "rem", "sem"])
def test_on_real_images_standard_victims_fall_well_below_clean(photographed, method):
    assert photographed[method, 0.0] < photographed["clean", 0.0] - 0.15, photographed


@pytest.mark.slow
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("method", ["em", "em-aligned", "tap", "sc"])
@pytest.mark.parametrize("robust", ["rem", "sem"])
def test_on_real_images_adversarial_training_undoes_all_but_rem_and_sem(photographed, method, robust):
    assert photographed[method, RHO] > photographed["clean", RHO] - 0.05, photographed
    assert photographed[robust, RHO] < photographed[method, RHO] - 0.05, photographed
