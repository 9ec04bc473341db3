"""The fast code against the slow transcription of the paper: same draws in, same noise out."""

import copy
import dataclasses

import pytest
import torch

from semshard.config import protect_config
from semshard.engine import Runtime, sgd
from semshard.models import build
from semshard.noise import add, adversary, craft, surrogate_step, to_levels
from semshard.noise.ball import uniform
from semshard.noise.craft import expected_gradient
from semshard.noise.views import CropFlip, make_view
from tests import reference

CPU = Runtime(torch.device("cpu"), "float32")
PAD = 4
CONFIG = protect_config(
    "quick",
    (32, 32),
    "float32",
    {"steps_u": 4, "draws": 3, "steps_a": 4, "rho_a": "2/255", "batch": 6, "pad": PAD, "alpha_u": "2.3/255"},
)


def batch(dtype, n=6):
    g = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=g).to(dtype) / 255, torch.arange(n) % 4


def network(dtype):
    model = build("small", 4, (32, 32), seed=3).to(dtype)
    model.train()
    with torch.no_grad():
        for seed in range(3):  # batch norm statistics that are neither zero nor one
            model(torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(seed)).to(dtype))
    return model


def drawn_like_craft(x, config, generator):
    """The draws of `craft` in the order it takes them: start, then per step and draw the view and the perturbation."""
    start = uniform(x, config.rho_u, generator)
    views, randoms = [], []
    for _ in range(config.steps_u):
        views.append([])
        randoms.append([])
        for _ in range(config.draws):
            views[-1].append(offsets(x, generator))
            randoms[-1].append(uniform(x, config.rho_r, generator))
    return start, views, randoms


def offsets(x, generator):
    """(dy, dx, flip) per image, read off the map that CropFlip draws."""
    n, _, height, width = x.shape
    params = CropFlip(PAD).draw(x, generator)
    source = params.source.view(n, height, width)
    middle = source[:, height // 2, width // 2 : width // 2 + 2]
    flip = middle[:, 1] < middle[:, 0]
    dy = middle[:, 0] // width - height // 2
    column = middle[:, 0] % width
    dx = torch.where(flip, width - 1 - column, column) - width // 2
    return list(zip(dy.tolist(), dx.tolist(), flip.tolist(), strict=True))


def both_noises(dtype):
    x, y = batch(dtype)
    model = network(dtype)
    ours = craft(CPU, model, x, y, CropFlip(PAD), CONFIG, CPU.generator(5))
    start, views, randoms = drawn_like_craft(x, CONFIG, CPU.generator(5))
    theirs = reference.craft(
        copy.deepcopy(model).double(),
        x.double(),
        y,
        start.double(),
        views,
        [[r.double() for r in step] for step in randoms],
        rho_u=CONFIG.rho_u,
        alpha_u=CONFIG.alpha_u,
        pad=PAD,
    )
    return ours, theirs


def test_crafted_noise_is_that_of_the_reference():
    ours, theirs = both_noises(torch.float64)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert torch.equal(to_levels(ours, CONFIG.rho_u).double(), reference.rounded(theirs, CONFIG.rho_u))


def test_crafted_noise_in_float32_has_the_signs_of_the_reference():
    ours, theirs = both_noises(torch.float32)
    assert ((ours - theirs).abs() < 1e-5).double().mean() >= 0.999


def test_one_gradient_of_equation_10_is_that_of_the_reference():
    x, y = batch(torch.float64)
    model = network(torch.float64).eval()
    delta = uniform(x, 0.01, CPU.generator(8))
    g = CPU.generator(9)
    draws = [(offsets(x, g), uniform(x, CONFIG.rho_r, g)) for _ in range(CONFIG.draws)]
    theirs = reference.eq10_gradient(model, x, y, delta, *map(list, zip(*draws, strict=True)), PAD)
    view, frozen = CropFlip(PAD), CPU.frozen(model)
    for fold in range(1, CONFIG.draws + 1):
        runtime = dataclasses.replace(CPU, fold=fold)
        ours = expected_gradient(runtime, frozen, x + delta, y, view, CONFIG, CPU.generator(9))
        scale = theirs.norm() / ours.norm()  # the reference takes means
        torch.testing.assert_close(ours * scale, theirs, rtol=1e-9, atol=1e-15)
    assert theirs.abs().max() > 1e-6


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_adversary_is_that_of_the_reference(dtype):
    x, y = batch(dtype)
    model = network(dtype)
    rho, alpha = 4 / 255, 0.8 / 255
    ours = adversary(CPU, model, x, y, rho=rho, alpha=alpha, steps=5, generator=CPU.generator(2))
    start = uniform(x, rho, CPU.generator(2))
    theirs = reference.adversary(
        copy.deepcopy(model).double(), x.double(), y, start.double(), rho_a=rho, alpha_a=alpha, steps=5
    )
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    assert ((ours - theirs).abs() <= tolerance).double().mean() >= 0.999


def test_a_step_of_algorithm_1_changes_the_weights_as_the_reference_does():
    x, y = batch(torch.float32)
    images = (x * 255).round().to(torch.uint8)
    ours = network(torch.float32)
    theirs = copy.deepcopy(ours).double()
    view, _ = make_view(CONFIG, (32, 32))
    optimiser, momenta = sgd(ours, CONFIG), {}
    for step in range(2):
        surrogate_step(CPU, ours, optimiser, images, y, view, CONFIG, step)

        g = CPU.generator(CONFIG.seed, "surrogate", step)
        start, views, randoms = drawn_like_craft(x, CONFIG, g)
        delta_u = reference.craft(
            theirs,
            x.double(),
            y,
            start.double(),
            views,
            [[r.double() for r in drawn] for drawn in randoms],
            rho_u=CONFIG.rho_u,
            alpha_u=CONFIG.alpha_u,
            pad=PAD,
        )
        noisy = torch.clamp(images + reference.rounded(delta_u, CONFIG.rho_u), 0, 255) / 255
        drawn = offsets(x, g)
        seen = torch.stack([reference.view(noisy[n], *drawn[n], PAD) for n in range(len(x))])
        start_a = uniform(seen.float(), CONFIG.rho_a, g)
        delta_a = reference.adversary(
            theirs,
            seen,
            y,
            start_a.double(),
            rho_a=CONFIG.rho_a,
            alpha_a=CONFIG.alpha_a,
            steps=CONFIG.steps_a,
        )
        options = {"lr": CONFIG.lr, "momentum": CONFIG.momentum, "weight_decay": CONFIG.weight_decay}
        reference.model_step(theirs, seen + delta_a, y, momenta, **options)
        for (name, found), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            difference = (found.detach().double() - expected.detach()).norm() / expected.detach().norm()
            assert difference.item() < 1e-4, name
        theirs.load_state_dict(ours.state_dict())  # so that rounding does not pile up over steps


def test_bfloat16_agrees_with_float32_on_most_signs():
    x, y = batch(torch.float32)
    model = network(torch.float32)
    wide = craft(CPU, model, x, y, CropFlip(PAD), CONFIG, CPU.generator(5))
    narrow = craft(Runtime(CPU.device, "bfloat16"), model, x, y, CropFlip(PAD), CONFIG, CPU.generator(5))
    assert ((wide - narrow).abs() < 1e-5).double().mean() > 0.5


def test_protected_pixels_are_clipped_to_their_range():
    images = torch.tensor([[[[0, 3, 250, 255]]]], dtype=torch.uint8)
    noise = torch.tensor([[[[-8, -8, 8, 8]]]], dtype=torch.int8)
    assert add(images, noise).flatten().tolist() == [0, 0, 255, 255]
