"""The fastest this device goes: a matrix product, and a network's own convolutions one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..engine.captured import Graphs, on_gpu
from .timing import medians


def forward_flop(model: nn.Module, size: tuple[int, int]) -> float:
    """Floating-point operations of a forward pass of one image; a multiply-add counts as two."""
    images = torch.zeros(1, 3, *size, device=next(model.parameters()).device)
    training = model.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(images)
    model.train(training)
    return float(counter.get_total_flops())


def layers(
    model: nn.Module, size: tuple[int, int], *kinds: type[nn.Module]
) -> list[tuple[nn.Module, torch.Size, torch.Size]]:
    """The layers of these kinds in the order of a forward pass, with the shapes of input and output for one image."""
    shapes: list[tuple[nn.Module, torch.Size, torch.Size]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes.append((layer, inputs[0].shape, output.shape))

    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, kinds)]
    forward_flop(model, size)
    for hook in hooks:
        hook.remove()
    return shapes


def matrix_product(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """FLOP/s of a square matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / medians({"product": lambda: a @ b}, repeats, device, _together(device, 10))["product"]


def convolutions(
    model: nn.Module, size: tuple[int, int], batch: int, device: torch.device, dtype: torch.dtype, repeats: int
) -> float:
    """FLOP/s of the network's convolutions, forward and input gradient, each alone, channels last, nothing else.

    Each is measured on the batch and on a part of it, and the faster one counts. On a GPU each is captured as a CUDA
    graph, and replayed many times between two waits: otherwise the time of the host would be measured.
    """
    graphs = Graphs(device, lambda sentence: None)
    flop, seconds = [], 0.0
    for conv, shape, _ in layers(model, size, nn.Conv2d):
        assert isinstance(conv, nn.Conv2d)
        parts = {batch, max(1, batch // 2)}
        actions = {str(n): _one(conv, (n, *shape[1:]), dtype, graphs) for n in parts}
        times = medians(actions, repeats, device, _together(device, 50))
        seconds += min(times[str(n)] / n for n in parts) * batch
        height, width = ((s + 2 * p - k) // t + 1 for s, p, k, t in zip(shape[2:], *_geometry(conv), strict=True))
        flop.append(4 * batch * conv.weight.numel() * height * width)
    return sum(flop) / seconds


def _geometry(conv: nn.Conv2d) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    padding = conv.padding
    assert not isinstance(padding, str)
    return padding, conv.kernel_size, conv.stride


def _together(device: torch.device, count: int) -> int:
    """How many runs are timed between two waits for the device."""
    return count if on_gpu(device) else 1


def _one(conv: nn.Conv2d, shape: tuple[int, ...], dtype: torch.dtype, graphs: Graphs) -> Callable[[], Tensor]:
    last = {"memory_format": torch.channels_last}
    weight = conv.weight.detach().to(dtype).contiguous(**last)
    x = torch.randn(shape, device=weight.device).to(dtype).contiguous(**last).requires_grad_()
    run = partial(F.conv2d, weight=weight, stride=conv.stride, padding=conv.padding, groups=conv.groups)
    gradient = torch.randn_like(run(x))

    def both() -> Tensor:
        return torch.autograd.grad(run(x), x, gradient)[0]

    return lambda: graphs((conv, shape), both)


def memory_copy(device: torch.device, repeats: int) -> float:
    """Bytes per second, read and written, of a copy that no cache holds."""
    count = 1 << (31 if device.type == "cuda" else 27)
    a = torch.empty(count, dtype=torch.uint8, device=device).random_()
    b = torch.empty_like(a)
    return 2 * count / medians({"copy": lambda: b.copy_(a)}, repeats, device)["copy"]
