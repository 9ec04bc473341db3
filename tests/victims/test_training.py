"""The recipes of victims work: they learn, and adversarial training withstands an attack."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semshard.engine import Runtime, TrainableNetwork, make_runtime, sgd
from semshard.models import build
from semshard.noise import InnerPerturbation
from semshard.noise.views import make_view
from semshard.settings import verify_config
from semshard.sources.shapes import CLASSES, draw_shape
from semshard.verification.verdict import has_collapsed
from semshard.victims import (
    Attacker,
    LabelledImages,
    VictimData,
    VictimRecipe,
    train_victim,
)
from semshard.victims.testing import attacked
from semshard.victims.training import VictimStep
from tests.support.shapes import EASY


def accuracy_under_attack(model, test, rho, steps=10):
    """Test accuracy against PGD of `steps` within `rho`, as the textbook has it (Madry et al. 2018)."""
    images, delta = test.images.float() / 255, torch.zeros(test.images.shape)
    model.eval()
    for _ in range(steps):
        delta.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(images + delta), test.labels), delta)
        delta = (delta.detach() + rho / 4 * gradient.sign()).clamp(-rho, rho)
        delta = (images + delta).clamp(0, 1) - images
    return float((model(images + delta).argmax(1) == test.labels).float().mean())


def shapes(count, shown=CLASSES):
    """`count` drawn shapes of these classes to train on, and as many others to test on."""
    numbers = [n // len(shown) * len(CLASSES) + CLASSES.index(shown[n % len(shown)]) for n in range(2 * count)]
    pictures = torch.from_numpy(np.stack([draw_shape(n) for n in numbers])).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(2 * count) % len(shown)
    return VictimData(*(LabelledImages(pictures[half], labels[half]) for half in (slice(count), slice(count, None))))


@pytest.mark.slow
def test_what_a_victim_reaches_under_pgd_is_what_the_textbooks_attack_leaves():
    runtime, rho, data = make_runtime("cpu"), 2 / 255, shapes(500)
    settings = {"steps": 60, "schedule": "one-cycle", "evaluations": 1, "steps_a": 1, "step_share": 1.25}
    config = verify_config("quick", (32, 32), runtime.precision, settings)
    victim = train_victim(runtime, data, VictimRecipe(Attacker("small", rho), config, 10, 0))
    found = victim.attacked
    assert 0 < found.under_pgd < victim.final
    assert found.under_pgd == pytest.approx(accuracy_under_attack(victim.model, data.test, rho), abs=0.02)
    assert found.train_under_pgd == pytest.approx(accuracy_under_attack(victim.model, data.train, rho), abs=0.02)
    assert found.train_under_pgd <= found.train_under_own + 0.02, "one step finds less than ten"


def test_a_victim_without_an_adversary_is_not_attacked():
    config = verify_config("quick", (32, 32), "float32", {"steps": 1, "evaluations": 1})
    recipe = VictimRecipe(Attacker("small", 0), config, 10, 0)
    assert train_victim(make_runtime("cpu", "float32"), shapes(64), recipe).attacked is None


def test_a_network_that_reads_the_noise_alone_withstands_attacks_where_the_noise_is():
    """On clean images, where the noise is missing, attacks leave nothing: that says nothing of its training."""
    runtime, data = make_runtime("cpu", "float32"), shapes(200)
    patterns = 8 * torch.randn(10, 3, 32, 32, generator=torch.Generator().manual_seed(0)).sign()
    noisy = (data.train.images + patterns[data.train.labels]).clamp(0, 255).to(torch.uint8)
    data = replace(data, train=LabelledImages(noisy, data.train.labels))
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(patterns.flatten(1))
    view, _ = make_view(verify_config("quick", (32, 32), "float32", {}), (32, 32))
    own = InnerPerturbation(2 / 255, 2.5 / 255, 1)
    found = attacked(runtime.folded(model), data, own, view, runtime, 0)
    assert found.under_pgd < 0.1
    assert found.train_under_pgd > 0.8
    assert not has_collapsed(found.train_under_own, found.train_under_pgd, 0.1)


@pytest.mark.parametrize(("count", "classes"), [(10, 10), (25, 10), (4, 4), (100, 10), (1000, 10)])
def test_a_sample_of_images_that_are_sorted_by_class_has_as_many_of_each(count, classes):
    everything = LabelledImages(torch.arange(100).reshape(100, 1, 1, 1), torch.arange(100) // 10)
    parts = list(everything.batches(7, count))
    images, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    of_each = torch.bincount(labels)
    assert all(len(part.labels) == 7 for part in parts[:-1])
    assert len(labels) == len(set(images.flatten().tolist())) == min(count, 100)
    assert len(labels.unique()) == classes
    assert of_each[of_each > 0].max() - of_each[of_each > 0].min() <= 1


@pytest.mark.parametrize("share", [0.2, 1.25, 2.0])
def test_the_adversary_stays_in_its_ball_however_large_its_step(share):
    runtime, rho = Runtime(torch.device("cpu"), "float32"), 4 / 255
    config = verify_config("quick", (32, 32), "float32", {"steps_a": 1, "step_share": share})
    model = build("small", 10, (32, 32), 0).train()
    recipe = VictimRecipe(Attacker("small", rho), config, 10, 0)
    step = VictimStep(TrainableNetwork(runtime, model, sgd(model, config)), make_view(config, (32, 32))[0], recipe)
    images = torch.cat([torch.rand(6, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)])
    seen = step._perturbed(step.network.folded, None, images, torch.arange(8), None, runtime.generator(0, "adversary"))
    assert 0.9 * rho < (seen - images).abs().max() <= rho + 1e-7
    assert 0 <= seen.min() <= seen.max() <= 1


@pytest.mark.slow
def test_a_victim_learns_shapes_and_adversarial_training_withstands_an_attack_that_breaks_standard_training():
    """The recipes work: far above chance, a quarter, on images that the victims never saw."""
    runtime, rho, data = make_runtime("cpu"), 4 / 255, shapes(500, EASY)
    settings = {"steps": 150, "schedule": "one-cycle", "evaluations": 2, "steps_a": 1, "step_share": 1.25}
    config = verify_config("quick", (32, 32), runtime.precision, settings)
    standard, adversarial = (
        train_victim(runtime, data, VictimRecipe(Attacker("small", radius), config, len(EASY), 0))
        for radius in (0.0, rho)
    )
    assert standard.curve[-1].test > 0.55
    assert adversarial.curve[-1].test > 0.45
    for victim in (standard, adversarial):
        assert victim.curve[-1].test > victim.curve[0].test
    attacked = [accuracy_under_attack(victim.model, data.test, rho) for victim in (standard, adversarial)]
    assert attacked[0] < 0.25, "below chance: the attack breaks standard training"
    assert attacked[1] > attacked[0] + 0.1
