"""Signed descent on whole numbers: it is that of real numbers, and stays in the ball and between black and white."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semshard.noise.ball import add_coarse_uniform, pgd, within
from semshard.noise.whole_steps import MOST, WholeSteps

RADII = [(8, 1.6), (8, 2), (8, 0.32), (4, 3.2), (1, 0.1), (255, 255), (100, 7.7)]


@pytest.mark.parametrize(("rho", "alpha"), RADII, ids=str)
def test_numbers_fit_and_steps_are_what_was_asked_for(rho, alpha):
    steps = WholeSteps.of(rho / 255, alpha / 255)
    assert 127.5 * steps.level + max(steps.alpha, steps.rho) <= MOST
    assert steps.alpha / steps.level == pytest.approx(alpha, rel=5e-3)
    assert rho - 2 / steps.level <= steps.rho / steps.level <= rho


@pytest.mark.parametrize(("rho", "alpha"), RADII, ids=str)
def test_descent_is_that_of_pgd(rho, alpha):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 9, 3, 11), generator=generator).to(torch.uint8)
    images[0, :3], images[1, :3] = 0, 255
    signs = [torch.randint(-1, 2, images.shape, generator=generator).float() * 1e-6 for _ in range(6)]
    steps = WholeSteps.of(rho / 255, alpha / 255)
    clean = steps.pixels(images)
    pixels, (low, high) = clean.clone(), steps.bounds(clean)
    for sign in signs:
        steps.descend(pixels, sign.clone(), low, high)
    each, x = iter(signs), images.double() / 255
    rho, alpha = steps.rho * steps.unit, steps.alpha * steps.unit
    found = pgd(lambda _: next(each), x, torch.zeros_like(x), rho=rho, alpha=alpha, steps=6, direction="minimise")
    torch.testing.assert_close((pixels - clean).double() * steps.unit, found, rtol=0, atol=1e-9)


@given(st.floats(1e-30, 1e30), st.booleans(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_any_gradient_but_none_moves_a_pixel_by_alpha(size, up, dtype):
    steps = WholeSteps.of(8 / 255, 1.6 / 255)
    pixels = torch.zeros(4, dtype=torch.int16)
    gradient = torch.tensor([size, -size, 0, size if up else -size], dtype=dtype)
    steps.descend(pixels, gradient, pixels - 2000, pixels + 2000)
    assert pixels.tolist() == [-steps.alpha, steps.alpha, 0, -steps.alpha if up else steps.alpha]


def test_starts_are_spread_evenly_and_stay_in_the_ball():
    steps = WholeSteps.of(8 / 255, 1.6 / 255)
    clean = steps.pixels(torch.full((200, 200), 128, dtype=torch.uint8))
    start = (steps.start(clean, np.random.default_rng(0)) - clean).float() / steps.rho
    assert start.abs().max() <= 1
    assert abs(float(start.mean())) < 0.02
    assert abs(float(start.square().mean()) - 1 / 3) < 0.02


def test_the_noise_is_whole_levels_within_the_budget():
    steps = WholeSteps.of(8 / 255, 1.6 / 255)
    images = torch.arange(256).to(torch.uint8)
    clean = steps.pixels(images)
    for level in range(-8, 9):
        assert (steps.noise(clean + level * steps.level, clean, 8 / 255) == level).all()
    assert (steps.noise(clean + 9 * steps.level, clean, 8 / 255) == 8).all()


def test_a_coarse_perturbation_is_uniform_about_the_middle():
    like = torch.empty(7, 3, 50, 51).contiguous(memory_format=torch.channels_last)
    drawn = add_coarse_uniform(like.fill_(0.5), 0.1, torch.Generator().manual_seed(0))
    assert drawn.unique().numel() == 256
    assert 0.39999 <= drawn.min() < 0.401 < 0.599 < drawn.max() <= 0.60001
    assert abs(float(drawn.mean()) - 0.5) < 1e-3
    assert abs(float(drawn.var()) - 0.1**2 / 3) < 1e-4


def test_clipped_values_have_no_gradient_and_the_limits_have():
    for dtype in (torch.float32, torch.bfloat16):
        above = 0.5 + torch.finfo(dtype).eps / 2
        values = torch.tensor([-1, -above, -0.5, 0, 0.5, above, 1], dtype=dtype)
        assert within(torch.ones(7, dtype=dtype), values).tolist() == [0, 0, 1, 1, 1, 0, 0]
