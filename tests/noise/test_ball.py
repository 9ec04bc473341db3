"""The ball: nothing leaves it, nothing leaves the range of pixels."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semshard.noise.ball import pgd, project, to_levels, uniform
from semshard.settings import levels


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.004, 0.3), st.floats(0.001, 0.1), st.integers(1, 6), st.integers(0, 2**31), st.booleans())
def test_pgd_stays_in_the_ball_and_in_the_range(rho, alpha, steps, seed, up):
    x = torch.rand(2, 3, 5, 5, generator=rng(seed))
    x.view(-1)[:20], x.view(-1)[20:40] = 0, 1
    g = rng(seed + 1)
    delta = pgd(
        lambda d: torch.randn(d.shape, generator=g),
        x,
        uniform(x, 2 * rho, rng(seed)),
        rho=rho,
        alpha=alpha,
        steps=steps,
        direction="maximise" if up else "minimise",
    )
    assert delta.abs().max() <= rho + 1e-7
    assert (x + delta).min() >= 0
    assert (x + delta).max() <= 1


@settings(max_examples=100, deadline=None)
@given(st.floats(1 / 255, 0.4), st.integers(0, 2**31))
def test_stored_noise_never_exceeds_the_budget(rho, seed):
    noise = to_levels(uniform(torch.empty(1000), rho, rng(seed)), rho)
    assert noise.dtype == torch.int8
    assert noise.abs().max() <= levels(rho) <= rho * 255 + 1e-6


def test_pgd_goes_down_and_up_a_known_loss():
    x = torch.full((1, 1, 4, 4), 0.5)
    target = torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 4, 4)
    start, options = uniform(x, 0.1, rng()), {"rho": 0.1, "alpha": 0.05, "steps": 8}
    down = pgd(lambda d: -target, x, start, direction="minimise", **options)
    torch.testing.assert_close(down, 0.1 * target)
    up = pgd(lambda d: -target, x, start, direction="maximise", **options)
    torch.testing.assert_close(up, -0.1 * target)


def test_projection_leaves_what_is_inside_alone():
    x, delta = torch.full((3,), 0.5), torch.tensor([-0.02, 0.0, 0.02])
    assert torch.equal(project(delta, x, 0.03), delta)


def test_the_random_start_fills_the_ball():
    draw = uniform(torch.empty(100_000), 0.1, rng())
    assert abs(float(draw.mean())) < 1e-3
    assert draw.min() < -0.0999
    assert draw.max() > 0.0999
