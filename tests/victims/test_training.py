"""The recipes of victims work: they learn, and adversarial training withstands an attack."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semshard.engine import make_runtime
from semshard.settings import verify_config
from semshard.sources.shapes import draw_shape
from semshard.victims import (
    Attacker,
    LabelledImages,
    VictimData,
    VictimRecipe,
    train_victim,
)


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


@pytest.mark.slow
def test_a_victim_learns_shapes_and_adversarial_training_withstands_an_attack_that_breaks_standard_training():
    """The recipes work: far above chance on images that the victims never saw."""
    runtime, rho = make_runtime("cpu"), 4 / 255
    pictures = torch.from_numpy(np.stack([draw_shape(n) for n in range(2000)])).permute(0, 3, 1, 2).contiguous()
    labels = torch.arange(2000) % 10
    train, test = LabelledImages(pictures[:1000], labels[:1000]), LabelledImages(pictures[1000:], labels[1000:])
    settings = {"steps": 250, "lr_every": 100, "evaluations": 5, "steps_a": 2, "step_share": 0.5}
    config = verify_config("quick", (32, 32), runtime.precision, settings)
    standard, adversarial = (
        train_victim(runtime, VictimData(train, test), VictimRecipe(Attacker("small", radius), config, 10, 0))
        for radius in (0.0, rho)
    )
    assert standard.curve[-1].test > 0.3
    assert adversarial.curve[-1].test > 0.18
    for victim in (standard, adversarial):
        assert victim.curve[-1].test > victim.curve[0].test
    attacked = [accuracy_under_attack(victim.model, test, rho) for victim in (standard, adversarial)]
    assert attacked[0] < 0.1, "below chance: the attack breaks standard training"
    assert attacked[1] > attacked[0] + 0.03
