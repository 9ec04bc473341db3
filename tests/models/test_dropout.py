"""Dropout drops what its share says, differently at every step, and draws from no state but its own."""

import pytest
import torch
from torch import nn

from semshard.engine import Runtime, TrainableNetwork, sgd
from semshard.models.dropout import Dropout
from semshard.settings import protect_config

CPU = Runtime(torch.device("cpu"), "float32")


def layer(share=0.5, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dropout(share)


def dropped(of, n=64):
    return of(torch.ones(n, 512)) == 0


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_values_are_dropped_with_their_probability_and_the_mean_stays(share):
    out = layer(share)(torch.ones(400, 512))
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert sorted(out.unique().tolist()) == pytest.approx([0, 1 / (1 - share)])
    for dim in (0, 1):  # neither an image nor a channel is favoured
        spread = (out == 0).float().mean(dim).std()
        assert spread < 1.3 * (share * (1 - share) / out.shape[dim]) ** 0.5


def test_steps_layers_and_rows_differ_as_if_drawn_independently():
    one, other = layer(), layer(seed=1)
    masks = [dropped(one), dropped(one), dropped(other)]
    masks.append(masks[0].roll(1, 0))
    for n, first in enumerate(masks):
        for second in masks[:n]:
            assert float((first == second).float().mean()) == pytest.approx(0.5, abs=0.01)


def test_a_part_of_a_batch_drops_what_the_whole_batch_does():
    whole, part = layer(), layer()
    part.first_row = 40
    assert torch.equal(dropped(part, 24), dropped(whole)[40:])


def test_nothing_is_dropped_in_evaluation_mode_and_nothing_global_is_drawn():
    one, x = layer().eval(), torch.rand(3, 8)
    assert torch.equal(one(x), x)
    assert one.num_batches_tracked == 0
    before = torch.get_rng_state()
    one.train()(x)
    assert torch.equal(torch.get_rng_state(), before)


def trained(begin, until, snapshots=None):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), Dropout(), nn.ReLU(), Dropout(), nn.Linear(64, 5))
    network = TrainableNetwork(CPU, model.train(), sgd(model, protect_config("quick", (8, 8), "float32", {})))
    if snapshots:
        network.restore(snapshots)
    for step in range(begin, until):
        generator = torch.Generator().manual_seed(step)
        network.step(torch.rand(20, 3, 8, 8, generator=generator), torch.arange(20) % 5)
    return network


def test_a_resumed_training_drops_what_one_without_a_stop_drops():
    half = trained(0, 3)
    resumed, whole = trained(3, 6, half.snapshot(3)), trained(0, 6)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert whole.model[2].num_batches_tracked == 6
