"""A parameter step in parts is the step of the whole batch, and the same on any number of cores."""

import copy

import pytest
import torch
import torch.nn.functional as F

from semshard.cores import set_cores
from semshard.engine import Runtime, TrainableNetwork, parted, sgd
from semshard.engine.parted import PartedBackward
from semshard.settings import protect_config
from semshard.victims.simclr import nt_xent
from tests.support.networks import used

CPU = torch.device("cpu")
SMALLER = 6  # images of a part, so that there are several


@pytest.fixture(autouse=True)
def many_parts(monkeypatch):
    monkeypatch.setattr(parted, "MOST", SMALLER)
    yield
    set_cores(None)


def batch(count):
    generator = torch.Generator().manual_seed(count)
    return torch.rand(count, 3, 32, 32, generator=generator), torch.arange(count) % 5


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 13, 20])
@pytest.mark.parametrize("name", ["small", "resnet9", "resnet18", "vgg16-paper"])
def test_loss_gradients_and_statistics_are_those_of_the_whole_batch(name, count):
    model = used(name, torch.float64).train()
    whole, (x, y) = copy.deepcopy(model), batch(count)
    loss = PartedBackward(model, "float32", count)(x.double(), y)
    expected = F.cross_entropy(whole(x.double()), y)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(model.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("count", [2, 14, 20])
def test_a_loss_of_all_outputs_has_the_gradients_of_the_whole_batch(count):
    model = used("small", torch.float64).train()
    whole, (x, _) = copy.deepcopy(model), batch(count)
    numbers = torch.arange(count) % (count // 2)
    loss = PartedBackward(model, "float32", count, nt_xent)(x.double(), numbers)
    expected = nt_xent(whole(x.double()), numbers)
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for ours, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-9)
    for ours, theirs in zip(model.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_in_bfloat16_it_is_as_near_to_the_exact_gradients_as_a_plain_step():
    model, (x, y) = used("small", torch.float32).train(), batch(24)
    plain, exact = copy.deepcopy(model), copy.deepcopy(model).double()
    PartedBackward(model, "bfloat16", 24)(x, y)
    F.cross_entropy(Runtime(CPU, "bfloat16").logits(plain, x), y).backward()
    F.cross_entropy(exact(x.double()), y).backward()
    for ours, theirs, true in zip(model.parameters(), plain.parameters(), exact.parameters(), strict=True):
        error = (theirs.grad - true.grad).norm()
        assert (ours.grad - true.grad).norm() < 1.5 * error + 0.02 * true.grad.norm()


@pytest.mark.parametrize("loss", [None, nt_xent])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_no_bit_depends_on_the_number_of_cores(precision, loss):
    config = protect_config("quick", (32, 32), precision, {})
    states = []
    for cores in (1, 2, 5):
        set_cores(cores)
        runtime = Runtime(CPU, precision)
        model = runtime.place(used("small", torch.float32)).train()
        network, (x, y) = TrainableNetwork(runtime, model, sgd(model, config), loss), batch(20)
        for _ in range(3):
            network.step(x, torch.arange(20) % 10 if loss else y)
        states.append(model.state_dict())
    for state in states[1:]:
        assert all(torch.equal(value, states[0][name]) for name, value in state.items())


def test_frozen_parameters_and_batch_norms_in_evaluation_mode_stay_as_they_are():
    model, (x, y) = used("resnet18", torch.float32).eval(), batch(13)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("fc" in name)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    PartedBackward(model, "float32", 13)(x, y)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == [
        "net.fc.weight", "net.fc.bias"
    ]  # fmt: skip


def test_a_part_that_fails_ends_the_step_and_the_next_one_is_whole():
    model = used("small", torch.float32).train()
    backward = PartedBackward(model, "float32", 13)
    x, y = batch(13)
    with pytest.raises((IndexError, RuntimeError)):
        backward(x, torch.where(torch.arange(13) == 9, 99, y))  # a class that there is not, in the second part
    assert backward(x, y).isfinite()
