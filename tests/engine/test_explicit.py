"""Explicit passes are those of autograd, bit for bit; gradients of strided convolutions are torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from semshard.cores import set_cores
from semshard.engine import FoldedNetwork, parts
from semshard.engine.fused import OnednnConv, available
from tests.support.networks import used

pytestmark = pytest.mark.skipif(not available(), reason="fused convolutions are not used here")
EXPLICIT = ("small", "resnet9", "resnet18", "vgg16", "resnet18-paper", "vgg16-paper", "wrn34-10-paper")


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("name", EXPLICIT)
def test_the_gradient_has_the_bits_of_autograd(name, shares):
    network = FoldedNetwork(used(name, torch.float32), "bfloat16")
    assert network._explicit
    x, y = torch.rand(6, 3, 32, 32), torch.arange(6) % 5
    target = torch.softmax(torch.randn(6, 5), 1) if shares else y
    ours, theirs = network._explicit.gradient(x, target), network._plain_gradient(x, target)
    if shares:  # autograd adds the shares up in another order
        assert (ours - theirs).norm() < 0.02 * theirs.norm()
    else:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", EXPLICIT)
def test_scores_have_the_bits_of_a_differentiable_pass(name):
    network = FoldedNetwork(used(name, torch.float32), "bfloat16")
    x = torch.rand(6, 3, 32, 32)
    assert torch.equal(network(x), network(x.clone().requires_grad_()).detach())


@pytest.mark.parametrize("name", ["densenet121", "wrn34-10", "vit", "densenet121-paper"])
def test_a_network_with_other_operations_is_left_to_autograd(name):
    network = FoldedNetwork(used(name, torch.float32), "bfloat16")
    assert network._explicit is None
    assert network.gradient(torch.rand(2, 3, 32, 32), torch.arange(2)).isfinite().all()


@pytest.mark.parametrize("name", ["small", "resnet9", "resnet18"])
def test_no_bit_depends_on_how_many_images_go_through_at_once_or_on_the_cores(name, monkeypatch):
    monkeypatch.setattr(parts, "LOOK", 0.0)
    network = FoldedNetwork(used(name, torch.float32), "bfloat16")
    x, y = torch.rand(33, 3, 32, 32), torch.arange(33) % 5
    whole = network._explicit.gradient(x, y)
    try:
        for cores in (1, 2, 3):
            set_cores(cores)
            for most in (1, 5, 16, 64):
                network._most = most
                assert torch.equal(network.gradient(x, y), whole), (cores, most)
    finally:
        set_cores(None)


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (7, 5)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [
    (3, 2, 1), (4, 2, 1), (1, 2, 0), (7, 2, 3), (5, 3, 2), (2, 2, 0), (3, 3, 0), (3, 1, 1), (1, 1, 0), (5, 1, 1),
    (8, 4, 2),
])  # fmt: skip
def test_the_input_gradient_of_any_convolution_is_that_of_autograd(kernel, stride, padding, size):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel, stride, padding)
    if min(size) + 2 * padding < kernel:
        pytest.skip("the kernel is larger than the padded image")
    fused = OnednnConv(conv, relu=False)
    fused.load(conv.weight.detach().contiguous(memory_format=torch.channels_last), conv.bias.detach())
    fused._tiled = False
    x = torch.randn(2, 3, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = F.conv2d(x, conv.weight, conv.bias, stride, padding)
    gradient = torch.randn_like(y)
    (theirs,) = torch.autograd.grad(y, x, gradient)
    with torch.no_grad():
        ours = fused.input_gradient(gradient.contiguous(memory_format=torch.channels_last), x.shape, None)
        carried = fused.input_gradient(gradient.contiguous(memory_format=torch.channels_last), x.shape, theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(carried, 2 * theirs, rtol=1e-4, atol=1e-5)
