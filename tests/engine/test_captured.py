"""What a GPU does with batches, on a CPU: whole batches, captured as graphs that are recorded and replayed here."""

import copy

import pytest
import torch

from semshard.engine import FoldedNetwork, Runtime, TrainableNetwork, captured, cudnn, sgd
from semshard.engine.captured import Graphs, is_capturing
from semshard.engine.folded import fold_graph, folded_weights
from semshard.models import build
from semshard.noise import SurrogateTraining, new_surrogate
from semshard.noise.methods import make_noise
from semshard.noise.views import make_view
from semshard.settings import protect_config, verify_config
from semshard.victims import Attacker, LabelledImages, VictimRecipe
from semshard.victims.training import VictimStep
from tests.support.graphs import Cuda, Graph, cudnn_add_relu, cudnn_operators, cudnn_relu
from tests.support.networks import SHALLOW, skip_emulated, used

CPU = torch.device("cpu")
SIZE = (16, 16)


def fail(number):
    raise RuntimeError("operation failed due to a previous error during capture\nand more")


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def batch(number, count=6):
    random = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (count, 3, *SIZE), generator=random, dtype=torch.uint8)
    return images, torch.randint(0, 5, (count,), generator=random)


def surrogate_after(monkeypatch, cuda, precision="float32", steps=4, sizes=None, **settings):
    """The weights of a small surrogate after a few steps on a GPU, the last of them on fewer images; the remarks."""
    remarks = []
    with monkeypatch.context() as patch:
        cuda.install(patch)
        config = protect_config("quick", None if sizes is not None else SIZE, precision, settings)
        runtime = Runtime(CPU, precision, remarks.append)
        model = new_surrogate(config, 5, None if sizes is not None else SIZE, runtime)
        training = SurrogateTraining.of(runtime, model, make_view(config, SIZE)[0], config)
        for number in range(steps):
            images, labels = batch(number, 6 if number + 1 < steps else 5)
            given = None if sizes is None else sizes.roll(number, 0)[: len(labels)]
            training.step(number, images, labels, given)
    return state_of(model), remarks


CASES = {
    "sem": {"draws": 3},
    "rem": {"method": "rem", "draws": 2, "steps_u": 2},
    "em": {"method": "em"},
    "tap": {"method": "tap"},
    "hardened": {"views": "hardened", "push_steps": 0, "draws": 2, "steps_u": 2},
    "grey kept": {"grey": "keep"},
    "recompressed": {"jpeg_safe": True, "steps_u": 2},
    "warming up": {"warm_up": 0.005},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_captured_surrogate_step_is_the_plain_one_bit_for_bit(monkeypatch, name):
    cuda = Cuda()
    with_graphs, remarks = surrogate_after(monkeypatch, cuda, **CASES[name])
    assert not remarks, "a capture failed"
    assert cuda.captures >= 4, "gradients, lines 2 to 11, the step, folding"
    without, remarks = surrogate_after(monkeypatch, Cuda(fail), **CASES[name])
    assert remarks
    assert equal(with_graphs, without)


def test_squashed_photographs_bring_their_sizes_into_the_graph(monkeypatch):
    sizes = torch.tensor([[16, 30], [50, 20], [16, 16], [12, 40], [90, 80], [33, 44]])
    settings = {"crop": 16, "draws": 2, "steps_u": 2}
    with_graphs, remarks = surrogate_after(monkeypatch, Cuda(), sizes=sizes, **settings)
    assert not remarks
    assert equal(with_graphs, surrogate_after(monkeypatch, Cuda(fail), sizes=sizes, **settings)[0])
    others = surrogate_after(monkeypatch, Cuda(), sizes=sizes.flip(1), **settings)[0]
    assert not equal(with_graphs, others), "the sizes matter"


@pytest.mark.parametrize("countermeasure", ["none", "mixup"])
def test_a_captured_victim_step_is_the_plain_one_bit_for_bit(monkeypatch, countermeasure):
    states = []
    for cuda in (Cuda(), Cuda(fail)):
        with monkeypatch.context() as patch:
            cuda.install(patch)
            config = verify_config("quick", SIZE, "float32", {})
            runtime = Runtime(CPU, "float32")
            model = runtime.place(build("small", 5, SIZE, 0)).train()
            recipe = VictimRecipe(Attacker("small", 4 / 255, countermeasure), config, 5, 0)
            step = VictimStep(TrainableNetwork(runtime, model, sgd(model, config)), make_view(config, SIZE)[0], recipe)
            for number in range(4):
                step(LabelledImages(*batch(number)), number)
            states.append(state_of(model))
    assert equal(*states)


def test_captured_noise_is_the_plain_one_and_follows_the_weights(monkeypatch):
    blocks = []
    for cuda in (Cuda(), Cuda(fail)):
        with monkeypatch.context() as patch:
            cuda.install(patch)
            config = protect_config("quick", SIZE, "float32", {"final_steps": 3})
            runtime = Runtime(CPU, "float32")
            model = runtime.place(used("small", torch.float32, SIZE))
            noise = make_noise(runtime, config, 5, SIZE, model=model)
            found = []
            for shard in range(3):
                found.append(noise(*batch(0), None, shard, 0))
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(0.9)
            blocks.append(torch.stack(found))
    assert torch.equal(*blocks)
    assert not torch.equal(blocks[0][0], blocks[0][1])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SHALLOW)
def test_whole_batches_give_the_gradient_that_parts_of_them_give(monkeypatch, name, precision):
    skip_emulated(precision, name)
    model = used(name, torch.float32)
    runtime = Runtime(CPU, precision)
    runtime.place(model)
    x, y = torch.rand(9, 3, 32, 32), torch.arange(9) % 5
    theirs = runtime.folded(model).gradient(x, y)
    exact = Runtime(CPU, "float32").folded(copy.deepcopy(model).double()).gradient(x.double(), y)
    with cudnn_operators(), monkeypatch.context() as patch:
        cudnn.reason.cache_clear()
        Cuda().install(patch)
        network = runtime.folded(model)
        assert bool(network._fused) == (precision == "bfloat16"), "cuDNN's operators are used"
        for _ in range(3):
            ours = network.gradient(x, y)
            assert (ours - exact).norm() <= max(1.5 * (theirs - exact).norm(), 1e-4 * exact.norm())
            network.refresh()
    cudnn.reason.cache_clear()


def test_shapes_that_cudnn_does_not_fuse_are_computed_plainly(monkeypatch):
    def fused(x, weight, bias, *others):
        if x.shape[2] > 8:
            refused.append(x.shape)
            raise RuntimeError("GET was unable to find an engine to execute this computation")
        return cudnn_relu(x, weight, bias, *others)

    def fused_add(x, weight, other, *others):
        if x.shape[2] > 8:
            refused.append(x.shape)
            raise RuntimeError("GET was unable to find an engine to execute this computation")
        return cudnn_add_relu(x, weight, other, *others)

    refused = []
    model = used("small", torch.float32)
    x, y = torch.rand(9, 3, 32, 32), torch.arange(9) % 5
    with cudnn_operators(), monkeypatch.context() as patch:
        cudnn.reason.cache_clear()
        Cuda().install(patch)
        whole = Runtime(CPU, "bfloat16").folded(model)
        assert whole._fused
        expected = whole.gradient(x, y)
    with cudnn_operators(fused, fused_add), monkeypatch.context() as patch:
        Cuda().install(patch)
        network = Runtime(CPU, "bfloat16").folded(model)
        for _ in range(2):
            assert (network.gradient(x, y) - expected).norm() <= 0.05 * expected.norm()
        layers = sum(isinstance(each, torch.nn.Conv2d) for each in model.modules())
        assert 0 < len(refused) <= layers, "each shape is tried once"
    cudnn.reason.cache_clear()


# --- captures that fail -------------------------------------------------------------------------------------------


def double(x):
    return 2 * x


def on_graphs(monkeypatch, fault):
    remarks, cuda = [], Cuda(fault).install(monkeypatch)
    return Graphs(CPU, remarks.append), cuda, remarks


def test_a_capture_that_fails_once_is_tried_again(monkeypatch):
    graphs, cuda, remarks = on_graphs(monkeypatch, lambda number: fail(number) if number == 1 else None)
    x = torch.rand(3)
    for _ in range(3):
        assert torch.equal(graphs("double", double, x), 2 * x)
    assert cuda.captures == 2
    assert not remarks
    assert Graph.made["replays"] == 3, "one to check the graph, and two calls"


def test_a_capture_that_fails_twice_is_given_up_with_a_remark(monkeypatch):
    graphs, cuda, remarks = on_graphs(monkeypatch, fail)
    for _ in range(4):
        assert torch.equal(graphs("double", double, torch.ones(3)), torch.full((3,), 2.0))
    assert cuda.captures == 2
    assert remarks == [
        "passes are not captured as CUDA graphs: operation failed due to a previous error during capture"
    ]
    assert not is_capturing()


def test_a_graph_that_torch_calls_empty_is_a_failure(monkeypatch):
    graphs, cuda, remarks = on_graphs(monkeypatch, lambda number: "empty")
    for value in (1.0, 2.0, 3.0):
        assert graphs("double", double, torch.tensor([value])) == 2 * value, "not the first result again"
    assert cuda.captures == 2
    assert "empty" in remarks[0]


def test_a_graph_that_computes_nothing_is_a_failure_even_without_a_warning(monkeypatch):
    graphs, _, remarks = on_graphs(monkeypatch, lambda number: None)
    monkeypatch.setattr(Graph, "replay", lambda graph: None)
    for dtype in (torch.float32, torch.int8):
        for value in (1, 2, 3):
            given = torch.tensor([value], dtype=dtype)
            assert graphs("double", double, given) == 2 * value
    assert len(remarks) == 2


def test_short_memory_gives_a_capture_up_at_once_and_the_plain_call_goes_on(monkeypatch):
    def short(number):
        raise torch.OutOfMemoryError("CUDA out of memory")

    graphs, cuda, remarks = on_graphs(monkeypatch, short)
    for _ in range(3):
        assert graphs("double", double, torch.ones(1)) == 2
    assert cuda.captures == 1
    assert "memory is short" in remarks[0]


def test_shapes_and_dtypes_have_graphs_of_their_own_up_to_a_number(monkeypatch):
    graphs, cuda, _ = on_graphs(monkeypatch, lambda number: None)
    for given in (torch.ones(2), torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.int64)):
        for _ in range(2):
            found = graphs("double", double, given)
            assert found.dtype is given.dtype
            assert torch.equal(found, 2 * given)
    assert cuda.captures == 4 == captured.MOST
    assert torch.equal(graphs("double", double, torch.ones(7)), torch.full((7,), 2.0))
    assert cuda.captures == 4
    graphs("triple", lambda x: 3 * x, torch.ones(2))
    assert cuda.captures == 5


# --- random numbers -----------------------------------------------------------------------------------------------


def noisy(x, generator):
    return x + torch.rand(x.shape, generator=generator) + torch.randperm(len(x), generator=generator)


def test_a_replay_draws_what_the_plain_call_would_and_moves_the_stream_on(monkeypatch):
    graphs, cuda, _ = on_graphs(monkeypatch, lambda number: None)
    for seed in (1, 2, 1):
        ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
        for _ in range(2):
            x = torch.rand(5)
            assert torch.equal(graphs("noisy", noisy, x, generator=ours), noisy(x, theirs))
        assert torch.equal(ours.get_state(), theirs.get_state())
    assert cuda.captures == 1


def test_a_function_that_draws_from_another_stream_is_not_captured(monkeypatch):
    graphs, _, remarks = on_graphs(monkeypatch, lambda number: None)
    hidden = torch.Generator().manual_seed(0)
    for _ in range(2):
        graphs("hidden", lambda x: noisy(x, hidden), torch.rand(3))
        graphs("global", lambda x: x + torch.rand(3), torch.rand(3))
    assert len(remarks) == 2
    assert "generator" in remarks[0]


def test_a_function_that_waits_for_a_value_is_not_captured(monkeypatch):
    graphs, _, remarks = on_graphs(monkeypatch, lambda number: None)
    for _ in range(2):
        graphs("waits", lambda x: x if x.any() else -x, torch.rand(3))
    assert len(remarks) == 1


# --- folding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "vgg16", "small"])
def test_folding_all_layers_at_once_gives_the_bits_of_one_after_the_other(name):
    model = used(name, torch.float32)
    _, pairs = fold_graph(model)
    state, weights = model.state_dict(), folded_weights(model, pairs, torch.bfloat16)
    assert pairs
    for conv, norm in pairs.items():
        scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + model.get_submodule(norm).eps)
        shift = state[f"{norm}.bias"] - (state[f"{norm}.running_mean"] - state.get(f"{conv}.bias", 0)) * scale
        expected = (state[f"{conv}.weight"] * scale[:, None, None, None]).bfloat16()
        assert torch.equal(weights[f"{conv}.weight"], expected)
        assert torch.equal(weights[f"{conv}.bias"], shift.bfloat16())


def test_folding_on_a_gpu_writes_into_the_tensors_that_graphs_read(monkeypatch):
    Cuda().install(monkeypatch)
    model = used("small", torch.float32)
    network = FoldedNetwork(model, "bfloat16")
    kept = {name: (value, value.data_ptr()) for name, value in network._weights.items()}
    for _ in range(3):
        with torch.no_grad():
            for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
                tensor.mul_(1.1)
        network.refresh()
        fresh = FoldedNetwork(copy.deepcopy(model), "bfloat16")
        for name, (value, place) in kept.items():
            assert network._weights[name] is value
            assert value.data_ptr() == place
            assert torch.equal(value, fresh._weights[name])
