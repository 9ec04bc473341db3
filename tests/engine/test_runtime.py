"""The engine: folded networks are the same networks; random streams depend on their path alone."""

import copy

import pytest
import torch

from semshard.engine import Runtime, choose_preset, make_runtime
from semshard.errors import SettingError
from semshard.models import build

CPU = Runtime(torch.device("cpu"), "float32")
SHALLOW = ("resnet18", "small")  # networks whose rounding errors stay small; the others are in tests/models


def used(name, dtype, size=(32, 32)):
    """A network whose batch norm statistics and affine weights are all different from their start."""
    model = build(name, 5, size, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.add_(torch.randn(tensor.shape, generator=generator, dtype=dtype) * 0.1)
            module.running_var.mul_(torch.rand(module.running_var.shape, generator=generator, dtype=dtype) + 0.5)
    return model


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("size", [(32, 32), (80, 72)])
def test_a_frozen_network_is_the_network_in_evaluation_mode(name, size):
    model = used(name, torch.float64, size)
    x = torch.rand(3, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = copy.deepcopy(model).eval()(x)
    found = CPU.frozen(model)(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    g = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, x, g)[0] for y in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_a_frozen_network_follows_the_weights_of_the_moment_it_was_frozen_at():
    model = used("small", torch.float32)
    x = torch.rand(2, 3, 32, 32)
    frozen = CPU.frozen(model)
    before = frozen(x)
    with torch.no_grad():
        model.get_parameter("net.head.weight").zero_()
    assert torch.equal(frozen(x), before)
    assert torch.allclose(CPU.frozen(model)(x), model.get_parameter("net.head.bias").expand(2, 5))
    with pytest.raises(RuntimeError, match="frozen again"):
        frozen(x)


@pytest.mark.parametrize("name", SHALLOW)
def test_bfloat16_comes_near_float32(name):
    model = used(name, torch.float32)
    x = torch.rand(8, 3, 32, 32)
    narrow, wide = Runtime(CPU.device, "bfloat16").frozen(model)(x), CPU.frozen(model)(x)
    assert narrow.dtype == torch.float32
    assert (wide - narrow).norm() / wide.norm() < 0.05


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    a, state = build("small", 3, (32, 32), seed=5).state_dict(), torch.get_rng_state()
    torch.manual_seed(2)
    b = build("small", 3, (32, 32), seed=5).state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_random_streams_depend_on_their_path_alone():
    def draw(*path):
        return torch.rand(4, generator=CPU.generator(*path)).tolist()

    assert draw(1, "craft", 2, 3) == draw(1, "craft", 2, 3)
    assert len({tuple(draw(*path)) for path in [(1, "a", 23), (1, "a", 2, 3), (2, "a", 23), (1, "b", 23)]}) == 4


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(SettingError, match="cannot be used"):
        make_runtime("cuda:7")
    with pytest.raises(SettingError, match="cannot be used"):
        make_runtime("abacus")


def test_the_choice_and_its_reason_are_said():
    said = []
    runtime = make_runtime("cpu", remark=said.append)
    (sentence,) = said
    assert f"dtype: {runtime.precision} because" in sentence
    make_runtime("cpu", "float32", said.append)
    assert "as asked" in said[1]
    said = []
    for device, preset in (("cpu", "quick"), ("cuda", "paper")):
        assert choose_preset("auto", Runtime(torch.device(device), "float32", said.append)) == preset
    assert [sentence.split(" (")[0] for sentence in said] == ["preset: quick", "preset: paper"]
    assert choose_preset("paper", Runtime(torch.device("cpu"), "float32", said.append)) == "paper"
    assert len(said) == 2
