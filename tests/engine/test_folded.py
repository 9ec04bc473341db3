"""Folded networks: fused, parted and captured passes are the plain pass, with the weights of the last refresh."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.func import functional_call

from semshard.engine import FoldedNetwork, Runtime, TrainableNetwork, sgd
from semshard.engine.folded import fold_graph, folded_weights
from semshard.engine.fused import fuse, reason
from semshard.errors import RunError
from semshard.models import build
from semshard.settings import protect_config
from tests.support.networks import CPU, SHALLOW, skip_emulated, used

with_fused = pytest.mark.skipif(reason() is not None, reason=str(reason()))


def fused(model, tiled):
    """The network with its batch norms folded and its convolutions fused, in float32."""
    graph, pairs = fold_graph(model)
    convolutions = fuse(graph)
    weights = folded_weights(model, pairs, None)
    for name, conv in convolutions.items():
        conv.load(weights.pop(f"{name}.weight"), weights.pop(f"{name}.bias", None))
        conv._tiled = tiled  # what a CPU with matrix tiles does
    return lambda images: functional_call(graph, weights, (images,))


class Mixed(nn.Module):
    """Everything that can follow a convolution, and some things that must not be fused."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))
        self.first = nn.Conv2d(3, 6, 4, 2, 1)
        self.down = nn.Conv2d(6, 8, 3, 2, 1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.uneven = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), bias=False)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.first(x))
        y = self.a(x)
        y = F.relu(y) + y  # two users: the ReLU must stay outside
        x = torch.add(self.b(y), x)
        x = self.act(self.c(x) + self.b(x))  # a convolution used twice
        x = self.act(self.down(x))
        x = self.act(self.grouped(x)) + self.dilated(x) + self.uneven(x)
        return self.head(self.uneven(x).mean((2, 3)))


@with_fused
@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("n", [1, 5, 9])
@pytest.mark.parametrize("name", [*SHALLOW, "mixed"])
def test_fused_convolutions_change_neither_scores_nor_gradients(name, n, tiled):
    torch.manual_seed(0)
    model = Mixed() if name == "mixed" else used(name, torch.float32)
    ours_of = fused(model.eval(), tiled)
    x = torch.rand(n, 3, 32, 32, requires_grad=True)
    ours, theirs = ours_of(x), model(x)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()
    g = torch.randn_like(theirs)
    ours, theirs = (torch.autograd.grad(y, x, g)[0] for y in (ours, theirs))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


@with_fused
def test_additions_and_relus_of_resnet_go_into_its_convolutions():
    network = Runtime(torch.device("cpu"), "bfloat16").folded(build("resnet18", 10, (32, 32), 0))
    assert len(network._fused) == 20
    assert sum(conv.relu for conv in network._fused.values()) == 17
    kinds = {type(module) for module in network._graph.modules()}
    assert not kinds & {nn.ReLU, nn.BatchNorm2d, nn.Conv2d}
    assert "add" not in network._graph.code


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SHALLOW)
def test_the_gradient_is_that_of_the_summed_cross_entropy(name, precision):
    skip_emulated(precision, name)
    runtime, model = Runtime(CPU.device, precision), used(name, torch.float32)
    x, y = torch.rand(9, 3, 32, 32), torch.arange(9) % 5
    ours = runtime.folded(model).gradient(x, y)
    exact = copy.deepcopy(model).double().eval()
    wide = x.double().requires_grad_()
    theirs = torch.autograd.grad(F.cross_entropy(exact(wide), y, reduction="sum"), wide)[0]
    share = float((ours.sign() == theirs.sign()).double().mean())
    assert share >= (0.999 if precision == "float32" else 0.9), share
    assert (ours - theirs).norm() < (1e-3 if precision == "float32" else 0.2) * theirs.norm()
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("name", ["small", "resnet18", "densenet121"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_images_less_a_half_have_the_gradient_of_the_images(name, precision, layout):
    skip_emulated(precision, name)
    network = Runtime(CPU.device, precision).folded(used(name, torch.float32))
    dtype = getattr(torch, precision)
    centred = (torch.rand(4, 3, 32, 32) - 0.5).to(dtype)
    y = torch.arange(4) % 5
    ours = network.gradient(centred.contiguous(memory_format=layout), y, centred=True)
    theirs = network.gradient(centred.float() + 0.5, y)
    assert ours.dtype is dtype
    if network._explicit:
        assert network._explicit._centres, "nothing is added that is subtracted again"
        assert ours.is_contiguous(memory_format=layout)
        assert torch.equal(ours.float(), theirs)
    torch.testing.assert_close(ours.float(), theirs.to(dtype).float(), rtol=1e-2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gradient_does_not_depend_on_how_a_batch_is_parted(precision):
    skip_emulated(precision, "resnet18")
    network = Runtime(CPU.device, precision).folded(used("resnet18", torch.float32))
    x, y = torch.rand(10, 3, 32, 32), torch.arange(10) % 5
    whole = network.gradient(x, y)
    network._most = 3
    parted = network.gradient(x, y)
    assert (whole - parted).norm() < (1e-5 if precision == "float32" else 0.02) * whole.norm()


class Greedy(torch.autograd.Function):
    """Identity, as long as it is not asked for more than three images."""

    @staticmethod
    def forward(ctx, x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@fx.wrap
def greedy(x):
    return Greedy.apply(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 64, 5)

    def forward(self, x):
        return self.head(greedy(x).flatten(1))


def test_short_memory_halves_the_batch_says_so_once_and_changes_nothing():
    remarks = []
    network = FoldedNetwork(Net(), "float32", remarks.append)
    x, y = torch.rand(11, 3, 8, 8), torch.arange(11) % 5
    whole = torch.cat([network.gradient(a, b) for a, b in zip(x.split(1), y.split(1), strict=True)])
    assert not remarks
    assert torch.allclose(network.gradient(x, y), whole, atol=1e-6)
    assert [sentence.rsplit(" images", 1)[0].rsplit(" ", 1)[1] for sentence in remarks] == ["6", "3"]
    network.gradient(x, y)
    assert len(remarks) == 2


def test_a_training_step_that_the_memory_does_not_hold_is_an_error_that_says_what_to_do():
    model = Net()
    network = TrainableNetwork(CPU, model, sgd(model, protect_config("quick", (32, 32), "float32", {})))
    with pytest.raises(RunError, match="does not hold a step of 8 images; lower --batch"):
        network.step(torch.rand(8, 3, 8, 8), torch.arange(8) % 5)  # in two parts
    assert network.step(torch.rand(6, 3, 8, 8), torch.arange(6) % 5) > 0
