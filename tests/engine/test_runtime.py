"""The engine: folded networks are the same networks; random streams depend on their path alone."""

import copy
import os
import subprocess
import sys

import pytest
import torch

from semshard.engine import Runtime, TrainableNetwork, choose_preset, deterministic, make_runtime, sgd
from semshard.errors import SettingError
from semshard.models import build
from semshard.settings import protect_config
from tests.support.networks import CPU, SHALLOW, used


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("size", [(32, 32), (80, 72)])
def test_a_folded_network_is_the_network_in_evaluation_mode(name, size):
    model = used(name, torch.float64, size)
    x = torch.rand(3, 3, *size, dtype=torch.float64, requires_grad=True)
    expected = copy.deepcopy(model).eval()(x)
    scores = CPU.folded(model)(x)
    torch.testing.assert_close(scores, expected, rtol=1e-9, atol=1e-10)
    g = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, x, g)[0] for y in (scores, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


def test_a_folded_network_has_the_weights_of_its_last_refresh():
    model = used("small", torch.float32)
    x = torch.rand(2, 3, 32, 32)
    network = CPU.folded(model)
    before = network(x)
    with torch.no_grad():
        model.get_parameter("net.head.weight").zero_()
    assert torch.equal(network(x), before)
    another = CPU.folded(model)
    assert torch.allclose(another(x), model.get_parameter("net.head.bias").expand(2, 5))
    assert torch.equal(network(x), before), "another folded form of the model does not change this one"
    network.refresh()
    assert torch.equal(network(x), another(x))


def test_a_network_in_training_folds_anew_after_every_step_and_only_then():
    model = used("small", torch.float32)
    x, y = torch.rand(4, 3, 32, 32), torch.arange(4)
    network = TrainableNetwork(CPU, model, sgd(model, protect_config("quick", (32, 32), "float32", {})))
    first = network.folded
    before = first(x)
    assert network.folded is first
    network.step(x, y)
    assert torch.equal(first(x), before), "a pass of the same step still sees the weights that it began with"
    assert network.folded is first
    assert torch.equal(first(x), CPU.folded(model)(x))
    assert not torch.equal(first(x), before)
    start = network.snapshot(1)
    network.step(x, y)
    network.restore(start)
    assert torch.equal(network.folded(x), CPU.folded(model)(x))


@pytest.mark.parametrize("name", SHALLOW)
def test_bfloat16_comes_near_float32(name):
    model = used(name, torch.float32)
    x = torch.rand(8, 3, 32, 32)
    narrow, wide = Runtime(CPU.device, "bfloat16").folded(model)(x), CPU.folded(model)(x)
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


def gpu_settings():
    return (
        torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory, torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark, torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
    )  # fmt: skip


@pytest.mark.parametrize("initialised", [True, False])
def test_where_cuda_runs_every_operation_has_to_be_reproducible_and_float32_is_float32(monkeypatch, initialised):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialised)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = gpu_settings()
    with pytest.raises(KeyError), deterministic():
        inside = gpu_settings()
        assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == initialised
        raise KeyError
    assert inside == ((True, False, False, True, False, "ieee", "ieee") if initialised else before)
    assert gpu_settings() == before


def test_cublas_learns_of_it_before_cuda_starts():
    code = (
        "import os, torch; from semshard.engine import make_runtime; seen = []\n"
        "torch.empty = lambda *a, device: seen.append(os.environ.get('CUBLAS_WORKSPACE_CONFIG')) or torch.zeros(1)\n"
        "make_runtime('cuda:1', 'float32'); print(seen, torch.cuda.is_initialized())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "CUBLAS_WORKSPACE_CONFIG"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[':4096:8'] False"


def test_a_device_that_is_not_there_is_an_error():
    with pytest.raises(SettingError, match="cannot be used"):
        make_runtime("cuda:7")
    with pytest.raises(SettingError, match="cannot be used"):
        make_runtime("abacus")


def test_the_choice_and_its_reason_are_shown():
    sentences = []
    runtime = make_runtime("cpu", remark=sentences.append)
    (sentence,) = sentences
    assert f"dtype: {runtime.precision} because" in sentence
    make_runtime("cpu", "float32", sentences.append)
    assert "as asked" in sentences[1]
    sentences = []
    for device, preset in (("cpu", "quick"), ("cuda", "paper")):
        assert choose_preset("auto", Runtime(torch.device(device), "float32", sentences.append)) == preset
    assert [sentence.split(" (")[0] for sentence in sentences] == ["preset: quick", "preset: paper"]
    assert choose_preset("paper", Runtime(torch.device("cpu"), "float32", sentences.append)) == "paper"
    assert len(sentences) == 2
