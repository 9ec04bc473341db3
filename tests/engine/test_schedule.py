"""The learning rate of a step: known values, torch's own one-cycle schedule, nothing but the step's number."""

import pytest
import torch

from semshard.engine import learning_rate, sgd
from semshard.settings import protect_config, verify_config

SIZE = (32, 32)


def one_cycle(steps, **given):
    return verify_config("medium", SIZE, "float32", {"steps": steps, **given})


@pytest.mark.parametrize("steps", [5, 10, 37, 640, 3125])
def test_one_cycle_is_that_of_torch(steps):
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.2, total_steps=steps, pct_start=0.3, cycle_momentum=False
    )
    config = one_cycle(steps)
    for step in range(steps):
        assert learning_rate(config, config.lr, step) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-15)
        optimiser.step()
        if step + 1 < steps:
            theirs.step()


def test_one_cycle_at_known_steps():
    """Steps 0 to 999: the top is at step 0.3 · 1,000 − 1, the middle of the way up and down is the mean of the ends."""
    config = one_cycle(1000)
    rates = {step: learning_rate(config, 0.2, step) for step in (0, 299, 649, 999)}
    assert rates == pytest.approx({0: 0.008, 299: 0.2, 649: (0.2 + 8e-7) / 2, 999: 8e-7})


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_shortest_trainings_have_a_cycle_too(steps):
    rates = [learning_rate(one_cycle(steps), 0.2, step) for step in range(steps)]
    assert all(0 < rate <= 0.2 for rate in rates)


def test_by_default_the_learning_rate_drops_to_a_tenth():
    for config in (protect_config("paper", SIZE, "float32", {}), verify_config("paper", SIZE, "float32", {})):
        every = config.lr_every
        rates = [learning_rate(config, 0.1, step) for step in (0, every - 1, every, 2 * every)]
        assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_nesterovs_momentum_is_that_of_the_setting():
    for nesterov in (True, False):
        model, config = torch.nn.Linear(2, 2), one_cycle(10, nesterov=nesterov)
        (group,) = sgd(model, config).param_groups
        assert group["nesterov"] is nesterov
    (group,) = sgd(torch.nn.Linear(2, 2), protect_config("medium", SIZE, "float32", {})).param_groups
    assert not group["nesterov"]
