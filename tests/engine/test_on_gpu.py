"""On a GPU, and where there are two on the second as well: the same bits captured and plain, and no waits."""

import copy

import pytest
import torch

from semshard.engine import FoldedNetwork, Runtime, TrainableNetwork, captured, cudnn, deterministic, make_runtime, sgd
from semshard.models import build
from semshard.noise import SurrogateTraining, new_surrogate
from semshard.noise.views import make_view
from semshard.settings import protect_config, verify_config
from semshard.victims import Attacker, LabelledImages, VictimRecipe
from semshard.victims.training import VictimStep
from tests.support.devices import on_gpu
from tests.support.networks import SHALLOW, used

SIZE = (32, 32)
GPUS = [torch.device("cuda", number) for number in range(min(2, torch.cuda.device_count()))] or [torch.device("cuda")]
pytestmark = pytest.mark.parametrize("gpu", GPUS, ids=str)
CASES = {
    "sem": {"draws": 3},
    "rem": {"method": "rem", "draws": 2, "steps_u": 2},
    "hardened": {"views": "hardened", "push_steps": 0, "draws": 2, "steps_u": 2},
    "recompressed": {"jpeg_safe": True, "steps_u": 2},
}


def batch(number, gpu, count=32):
    random = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (count, 3, *SIZE), generator=random, dtype=torch.uint8)
    return images.to(gpu), torch.randint(0, 5, (count,), generator=random).to(gpu)


def surrogate_after(gpu, precision, settings):
    """The weights of a surrogate after four steps, and the remarks."""
    remarks = []
    config = protect_config("quick", SIZE, precision, settings)
    runtime = make_runtime(str(gpu), precision, remarks.append)
    remarks.clear()
    training = SurrogateTraining.of(
        runtime, new_surrogate(config, 5, SIZE, runtime), make_view(config, SIZE)[0], config
    )
    with deterministic():
        for number in range(4):
            training.step(number, *batch(number, gpu))
    return {name: value.cpu() for name, value in training.network.model.state_dict().items()}, remarks


@on_gpu
def test_fused_convolutions_compute_what_plain_ones_do(gpu):
    if torch.cuda.get_device_capability(gpu) < (8, 0):
        pytest.skip("this GPU has no bfloat16")
    assert cudnn.reason(gpu) is None


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_captured_surrogate_steps_have_the_bits_of_plain_ones(monkeypatch, gpu, name, precision):
    with_graphs, remarks = surrogate_after(gpu, precision, CASES[name])
    assert not remarks, "a capture failed"
    again, _ = surrogate_after(gpu, precision, CASES[name])
    monkeypatch.setattr(captured, "TRIES", 0)
    without, _ = surrogate_after(gpu, precision, CASES[name])
    for key, value in with_graphs.items():
        assert torch.equal(value, again[key]), f"{key}: two runs differ"
        assert torch.equal(value, without[key]), f"{key}: captured and plain steps differ"


@on_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch warns once that it is a prototype
@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_surrogate_step_does_not_wait_for_the_gpu(monkeypatch, gpu, name, capture):
    if not capture:
        monkeypatch.setattr(captured, "TRIES", 0)
    config = protect_config("quick", SIZE, "bfloat16", CASES[name])
    runtime = Runtime(gpu, "bfloat16")
    training = SurrogateTraining.of(
        runtime, new_surrogate(config, 5, SIZE, runtime), make_view(config, SIZE)[0], config
    )
    images, labels = batch(0, gpu)
    try:
        with deterministic():
            for number in range(4):
                torch.cuda.set_sync_debug_mode("error" if number > 1 else "default")
                training.step(number, images, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_gpu
def test_captured_victim_steps_have_the_bits_of_plain_ones(monkeypatch, gpu):
    states = []
    for tries in (captured.TRIES, 0):
        monkeypatch.setattr(captured, "TRIES", tries)
        config, remarks = verify_config("quick", SIZE, "bfloat16", {}), []
        runtime = Runtime(gpu, "bfloat16", remarks.append)
        model = runtime.place(build("resnet18", 5, SIZE, 0)).train()
        recipe = VictimRecipe(Attacker("resnet18", 4 / 255, "none"), config, 5, 0)
        step = VictimStep(TrainableNetwork(runtime, model, sgd(model, config)), make_view(config, SIZE)[0], recipe)
        with deterministic():
            for number in range(4):
                step(LabelledImages(*batch(number, gpu)), number)
        assert not remarks
        states.append({name: value.cpu() for name, value in model.state_dict().items()})
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@on_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SHALLOW)
def test_gradients_on_a_gpu_follow_the_weights_and_are_those_of_float64(gpu, name, precision):
    remarks = []
    runtime = Runtime(gpu, precision, remarks.append)
    model = runtime.place(used(name, torch.float32))
    x, y = torch.rand(9, 3, 32, 32, device=gpu), torch.arange(9, device=gpu) % 5
    network = FoldedNetwork(model, precision, remarks.append)
    for _ in range(3):
        network.refresh()
        with deterministic():
            ours = network.gradient(x, y)
            exact = Runtime(gpu, "float32").folded(copy.deepcopy(model).double()).gradient(x.double(), y)
        assert (ours - exact).norm() <= (1e-3 if precision == "float32" else 0.2) * exact.norm()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.01 * torch.randn_like(parameter)
    assert not remarks, "the capture failed"
