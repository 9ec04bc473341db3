"""Whole steps on a GPU that is not there: no tensor is left on another device, and the host waits for nothing."""

import pytest
import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from semshard.engine import TrainableNetwork, cudnn, sgd
from semshard.engine.pooling import with_reproducible_pooling
from semshard.models import build
from semshard.noise import NoiseCrafter, SurrogateTraining, new_surrogate
from semshard.noise.views import make_view, noise_view
from semshard.settings import NETWORKS, protect_config, verify_config
from semshard.victims import Attacker, LabelledImages, VictimRecipe
from semshard.victims.simclr import SimclrStep, nt_xent, with_projection
from semshard.victims.training import VictimStep
from tests.support.fake_cuda import GPU, FakeRuntime, Watch, fake_cuda
from tests.support.graphs import cudnn_operators

SIZE = (32, 32)


@pytest.fixture
def gpu(monkeypatch):
    with cudnn_operators():
        monkeypatch.setattr(cudnn, "reason", lambda device: None)  # the check computes
        with fake_cuda(monkeypatch):
            yield


def images(size=SIZE, count=12, device="cpu"):
    drawn = torch.zeros(count, 3, *size, dtype=torch.uint8, device=device)
    return drawn, torch.zeros(count, dtype=torch.int64, device=device)


def watched(step, sent):
    """What the second call of `step` does; the first one makes constants. `sent` tensors go to the GPU."""
    step(0)
    with Watch() as watch:
        loss = step(1)
    assert loss.device == GPU
    assert watch.calls > 100
    assert len(watch.crossings) == sent, watch.crossings
    assert not watch.unseeded, "drawn from torch's global state"
    assert not watch.irreproducible


CASES = {
    "sem": {"draws": 3},
    "rem": {"method": "rem", "draws": 2},
    "em": {"method": "em"},
    "hardened": {"views": "hardened", "push_steps": 0, "draws": 2},
    "grey kept": {"grey": "keep"},
    "recompressed": {"jpeg_safe": True},
    "warming up": {"warm_up": 0.5, "label_noise": 0.5},
    "rounded": {"round_every": 1},
}


WHERE = [("sem", "float32", True), ("sem", "bfloat16", False), *((name, "bfloat16", True) for name in CASES)]


@pytest.mark.parametrize(("name", "precision", "on_device"), WHERE)
def test_a_surrogate_step_stays_on_its_gpu_and_waits_for_nothing(gpu, name, precision, on_device):
    config = protect_config("quick", SIZE, precision, {"steps_u": 2, "steps_a": 2, **CASES[name]})
    runtime = FakeRuntime(GPU, precision)
    training = SurrogateTraining.of(
        runtime, new_surrogate(config, 5, SIZE, runtime), make_view(config, SIZE)[0], config
    )

    def step(number):
        loss = training.step(number, *images(device=GPU if on_device else "cpu"))
        training.network.set_learning_rate(config, number)
        training.network.round_state(config, number + 1)
        return loss

    watched(step, 0 if on_device else 2)


def test_a_step_on_squashed_photographs_sends_their_sizes_once(gpu):
    config = protect_config("quick", None, "bfloat16", {"draws": 3, "steps_u": 2, "steps_a": 2})
    runtime = FakeRuntime(GPU, "bfloat16")
    training = SurrogateTraining.of(
        runtime, new_surrogate(config, 5, None, runtime), make_view(config, None)[0], config
    )
    sizes = torch.full((12, 2), 90)
    watched(lambda number: training.step(number, *images((80, 80)), sizes), 3)


@pytest.mark.parametrize("countermeasure", ["none", "mixup", "cutmix"])
def test_a_victim_step_stays_on_its_gpu_and_waits_for_nothing(gpu, countermeasure):
    config, runtime = verify_config("quick", SIZE, "bfloat16", {}), FakeRuntime(GPU, "bfloat16")
    model = runtime.place(build("small", 5, SIZE, 0)).train()
    recipe = VictimRecipe(Attacker("small", 4 / 255, countermeasure), config, 5, 0)
    step = VictimStep(TrainableNetwork(runtime, model, sgd(model, config)), make_view(config, SIZE)[0], recipe)
    watched(lambda number: step(LabelledImages(*images(device=GPU)), number), 0)


def test_a_step_without_labels_stays_on_its_gpu_and_waits_for_nothing(gpu):
    config, runtime = verify_config("quick", SIZE, "bfloat16", {}), FakeRuntime(GPU, "bfloat16")
    model = runtime.place(with_projection(build("small", 5, SIZE, 0), 0)).train()
    network = TrainableNetwork(runtime, model, sgd(model, config), nt_xent)
    step = SimclrStep(network, make_view(config, SIZE)[0], 0)
    watched(lambda number: step(LabelledImages(*images(device=GPU)), number), 0)


@pytest.mark.parametrize(
    "views", ["same", "none", "crop-flip,grey=0.5,jpeg=0.5,blur=0.5,resize=0.5,bits=0.5,jitter=0.5"]
)
def test_crafting_stays_on_its_gpu_and_waits_for_nothing(gpu, views):
    config = protect_config(
        "quick", SIZE, "bfloat16", {"noise_views": views, "final_draws": 3, "final_steps": 2}
    ).final()
    runtime = FakeRuntime(GPU, "bfloat16")
    network = runtime.folded(new_surrogate(config, 5, SIZE, runtime))
    crafter = NoiseCrafter(network, noise_view(make_view(config, SIZE)[0], config), config)
    x, y = images(device=GPU)

    def craft(number):
        network.refresh()
        return crafter(x.float() / 255, y, runtime.generator(0, number))

    watched(craft, 0)


QUICK = ("resnet18", "vgg16", "small")


@pytest.mark.parametrize("size", [(32, 32), (224, 224)])
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS]
)
def test_every_network_trains_by_reproducible_operators(gpu, name, size):
    config, runtime = verify_config("quick", size, "float32", {}), FakeRuntime(GPU, "float32")
    with unset_fake_temporarily():
        model = build(name, 5, size, 0)
    model = runtime.place(model).train()
    network = TrainableNetwork(runtime, model, sgd(model, config))
    x, y = torch.zeros(4, 3, *size, device=GPU), torch.zeros(4, dtype=torch.int64, device=GPU)

    def step(number):
        return network.step(x + network.folded.gradient(x, y), y)

    watched(step, 0)


@pytest.mark.parametrize("size", [7, (3, 5), (None, 4)])
def test_reproducible_pooling_is_adaptive_pooling(size):
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    ours = with_reproducible_pooling(nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.AdaptiveAvgPool2d(1)))
    assert isinstance(ours[1], nn.AdaptiveAvgPool2d), "torch takes a mean"
    theirs = nn.AdaptiveAvgPool2d(size)(x)
    torch.testing.assert_close(ours[0](x), theirs)
    g = torch.rand_like(theirs)
    found, expected = (torch.autograd.grad(y, x, g)[0] for y in (ours[0](x), theirs))
    torch.testing.assert_close(found, expected)
    assert fx.symbolic_trace(ours[:1])(x).equal(ours[0](x))
