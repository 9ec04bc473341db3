"""A surrogate of two networks: what each is trained by, and the gradient that both give."""

import numpy as np
import torch

from semshard.engine import make_runtime
from semshard.noise import networks_of, new_surrogate
from semshard.noise.methods import cost, make_noise
from semshard.noise.two_networks import MixedNetwork, TwoNetworks
from semshard.settings import levels, protect_config

RUNTIME = make_runtime("cpu", "float32")
SIZE, CLASSES = (32, 32), 4


def config(**given):
    return protect_config("quick", SIZE, "float32", {"push_steps": 5, "final_steps": 3, "final_draws": 1} | given)


def pictures(count=6):
    stream = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, *SIZE), dtype=torch.uint8, generator=stream)


LABELS = torch.arange(6) % CLASSES


def test_the_parts_start_from_different_weights_and_have_their_own_settings():
    of = config(steps=9, label_noise=0.5, warm_up=0.5, views=("crop-flip", "grey=0.5"))
    model = new_surrogate(of, CLASSES, SIZE, RUNTIME)
    pushes, reads = networks_of(model, of)
    assert isinstance(model, TwoNetworks)
    assert (pushes.model, reads.model) == (model.pushes, model.reads)
    assert not torch.equal(*(next(part.model.parameters()) for part in (pushes, reads)))
    assert (pushes.config.method, pushes.config.steps, pushes.config.label_noise) == ("push", 5, 0)
    assert (reads.config.method, reads.config.steps, reads.config.label_noise) == ("sem", 9, 0.5)
    assert pushes.config.rho_a == of.rho_u / 2
    single = config(push_steps=0)
    assert [network.name for network in networks_of(new_surrogate(single, CLASSES, SIZE, RUNTIME), single)] == [""]
    own, both = cost(reads.config), cost(of)
    assert both.training == own.training + cost(pushes.config).training
    assert both.crafting == 2 * own.crafting


def test_the_gradient_is_the_sum_of_both_each_over_its_norm():
    of = config()
    model = new_surrogate(of, CLASSES, SIZE, RUNTIME)
    x = pictures().float() / 255
    mixed = MixedNetwork(RUNTIME, model, CLASSES).gradient(x, LABELS)
    expected = torch.zeros_like(x)
    for network, sign in ((model.reads, 1), (model.pushes, -1)):
        gradient = sign * RUNTIME.folded(network).gradient(x, LABELS)
        expected += gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(
        mixed[2:4], MixedNetwork(RUNTIME, model, CLASSES).gradient(x[2:4], LABELS[2:4]), rtol=1e-4, atol=1e-9
    )


def test_an_image_without_a_gradient_keeps_none():
    of = config()
    model = new_surrogate(of, CLASSES, SIZE, RUNTIME)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    gradient = MixedNetwork(RUNTIME, model, CLASSES).gradient(pictures().float() / 255, LABELS)
    assert not gradient.any()


def test_the_noise_lowers_one_loss_and_raises_the_other():
    of = config(final_steps=10, final_views=("crop-flip",), noise_step="none", model_step="pgd", method="cell", pad=0)
    model = new_surrogate(of, CLASSES, SIZE, RUNTIME)
    noise = make_noise(RUNTIME, of, CLASSES, SIZE, model=model)(pictures(), LABELS, np.arange(6), 0, 0)
    assert noise.abs().max() <= levels(of.rho_u)

    def losses(images):
        return [
            torch.nn.functional.cross_entropy(RUNTIME.folded(network)(images), LABELS)
            for network in (model.reads, model.pushes)
        ]

    clean, protected = (
        losses(images.clamp(0, 255) / 255) for images in (pictures().float(), pictures() + noise.float())
    )
    assert protected[0] < clean[0]
    assert protected[1] > clean[1]
