"""Every method does what its paper claims, as far as a small run can show."""

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
from semshard.settings import verify_config
from semshard.shards import open_shards
from semshard.sources.shapes import write_shapes
from semshard.verification.load import load_dataset, required_originals
from semshard.verification.trainer import VictimTrainer
from tests.support.runs import real
from tests.support.shapes import EASY

# --- on drawn pictures --------------------------------------------------------------------------------------------

RHO = 4 / 255
RECIPE = {
    "rho_a": [0, RHO], "steps": 150, "schedule": "one-cycle", "steps_a": 1, "step_share": 1.25, "evaluations": 1,
    "holdout": 0.25, "seed": 4,
}  # fmt: skip
OWN = {
    "rem": {"steps": 150, "lr_every": 60, "final_steps": 5, "final_alpha": "3.2/255"},
    "tap": {"steps": 800, "lr_every": 320},
}
# Twice the paper's budget: of 8/255 so small a run shows half as much, and of TAP 4 to 16 points, by seed and machine.
# At 8/255 the claims are tested on real images, below.
DRAWN = {"preset": "quick", "steps": 120, "lr_every": 48, "seed": 11, "rho_u": "16/255", "alpha_u": "6.4/255"}
OF_DRAWN = {
    "rem": {"steps": 50, "lr_every": 20, "final_steps": 5, "final_alpha": "6.4/255"},
    "tap": {"steps": 300, "lr_every": 120},
}


def four_classes(home, count):
    """`count` drawn pictures of four classes; ten are more than a small victim learns adversarially in a minute."""
    write_shapes(home, count * 10 // len(EASY))
    for folder in home.iterdir():
        if folder.name not in EASY:
            shutil.rmtree(folder)
    return home


def accuracies(images, home, radii, recipe, settings, own=OWN):
    """Final test accuracy of victims by method ("clean" for the originals) and radius.

    `radii` has the radii of each method; on the originals there is a victim for every radius of the recipe.
    """
    runtime = make_runtime("cpu")
    config = verify_config("quick", (32, 32), runtime.precision, recipe)
    found = {}
    for method in radii:
        semshard.protect(images, home / method, method=method, **(settings | own.get(method, {})))
        shards = open_shards(home / method)
        dataset = load_dataset(shards, required_originals(shards, None), config, lambda event: None)
        trainer = VictimTrainer(runtime, config, len(shards.classes), lambda event: None)
        kinds = {"protected": (method, radii[method])} | ({} if found else {"clean": ("clean", config.rho_a)})
        for kind, (name, trained) in kinds.items():
            for rho in trained:
                victim, _ = trainer.train(name, dataset.data(kind), trainer.plain(rho), config.seed)
                found[name, rho] = victim.final
    return found


RADII = {"sem": (0.0, RHO), "em-aligned": (0.0,), "rem": (0.0, RHO), "tap": (0.0,)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    home = tmp_path_factory.mktemp("claims")
    return accuracies(four_classes(home / "images", 1000), home, RADII, RECIPE, DRAWN, OF_DRAWN)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", ["em-aligned", "tap", "rem", "sem"])
def test_standard_victims_fall_well_below_clean(drawn, method):
    assert drawn[method, 0.0] < drawn["clean", 0.0] - 0.1, drawn


@pytest.mark.slow
@pytest.mark.timeout(3600)
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


@pytest.mark.slow
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
    radii = dict.fromkeys(("sem", "em", "em-aligned", "sc", "tap", "rem"), (0.0, RHO)) | {"ntga": (0.0,)}
    home = tmp_path_factory.mktemp("real")
    return accuracies(real("cifar10") / "test", home, radii, recipe, {"preset": "quick", "seed": 0})


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
