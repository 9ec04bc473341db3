"""A network at rest: batch norm with frozen statistics folded into the convolutions, no parameter gradients.

In evaluation mode a convolution followed by batch norm is again a convolution, with weight w·γ/σ and bias
β − μ·γ/σ. Folding costs microseconds, the passes it saves are a third of a forward and backward pass on a CPU. The
network itself is left as it is, in whatever mode it is in.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.func import functional_call

from .captured import Captured, OnBatch, captured
from .fused import MAP_BYTES, FusedConv, available, fuse


@dataclass
class Rest:
    """What is kept of a network from one freeze to the next."""

    graph: fx.GraphModule
    pairs: dict[str, str]  # a convolution → the batch norm that was folded into it
    fused: dict[str, FusedConv]  # convolutions that take their weights themselves
    weights: dict[str, Tensor] = field(default_factory=dict)  # the same tensors at every freeze
    freezes: int = 0
    most: int = 1 << 30  # images that go through at once: what the memory holds
    parts: dict[torch.Size, int] = field(default_factory=dict)  # … and what the CPU's caches like, by image shape
    captured: dict[torch.Size, OnBatch | None] = field(default_factory=dict)


_RESTS: WeakKeyDictionary[nn.Module, dict[str, Rest]] = WeakKeyDictionary()  # by precision


def run(network: Callable[[Tensor], Tensor], images: Tensor, precision: str) -> Tensor:
    """Scores, float, of images by a network, its arithmetic in `precision`."""
    images = images.contiguous(memory_format=torch.channels_last)
    if images.dtype == torch.float64:  # held against the reference: every digit counts
        return network(images)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
        return network(images).float()


class Frozen:
    """`model` as it is when this is made, in evaluation mode. Freezing it again ends the earlier one's life.

    `remark` is told in a sentence when the device's memory makes smaller parts necessary.
    """

    def __init__(self, model: nn.Module, precision: str, remark: Callable[[str], None]) -> None:
        parameter = next(model.parameters())
        narrow = precision == "bfloat16" and parameter.dtype is torch.float32
        with_fused = narrow and parameter.device.type == "cpu" and available()
        rests = _RESTS.setdefault(model, {})
        if precision not in rests:
            rests[precision] = _rest(model, with_fused)
        self._rest, self._precision, self._remark = rests[precision], precision, remark
        self._rest.freezes += 1
        self._number = self._rest.freezes
        weights = folded_weights(model, self._rest.pairs, torch.bfloat16 if narrow else None)
        for name, conv in self._rest.fused.items():
            conv.load(weights.pop(f"{name}.weight"), weights.pop(f"{name}.bias", None))
        for name, value in weights.items():
            self._rest.weights.setdefault(name, value).copy_(value)

    def __call__(self, images: Tensor) -> Tensor:
        """Class scores, float (N, classes), of float images (N, 3, H, W) in [0, 1]; differentiable in the images."""
        self._check()
        return run(lambda x: functional_call(self._rest.graph, self._rest.weights, (x,)), images, self._precision)

    def gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """The gradient of the cross-entropy, summed over the batch, at float images (N, 3, H, W); labels are
        int64 (N,), or shares of the classes, float (N, classes).

        No image's gradient depends on another image. Where the device's memory does not hold the batch, it goes
        through in halves, and so do all later ones.
        """
        self._check()
        most = min(self._rest.most, self._part(images))
        try:
            parts = zip(torch.split(images, most), torch.split(labels, most), strict=True)
            gradients = [self._gradient(*part) for part in parts]
        except torch.OutOfMemoryError:
            if min(most, len(images)) == 1:
                raise
            self._rest.most = (min(most, len(images)) + 1) // 2
            self._remark(f"the device's memory is short: gradients are taken of {self._rest.most} images at a time")
            return self.gradient(images, labels)
        return gradients[0] if len(gradients) == 1 else torch.cat(gradients)

    def _gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        plain = self._plain_gradient
        whole = captured(self._rest.captured, lambda: Captured(plain, images, labels), images, self._remark)
        return (whole or plain)(images, labels)

    def _plain_gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        images = images.detach().requires_grad_()
        loss = F.cross_entropy(self(images), labels, reduction="sum")
        return torch.autograd.grad(loss, images)[0]

    def _part(self, images: Tensor) -> int:
        """How many images go through at once: as many as have their largest map near the CPU."""
        if not self._rest.fused:
            return len(images)
        shape = images.shape[1:]
        if shape not in self._rest.parts:
            with torch.no_grad():
                self(images[:1])
            largest = max(conv.map_bytes for conv in self._rest.fused.values())
            self._rest.parts[shape] = 1 << max(0, (MAP_BYTES // largest).bit_length() - 1)
        return self._rest.parts[shape]

    def _check(self) -> None:
        if self._number != self._rest.freezes:
            raise RuntimeError("this network was frozen again since")


def _rest(model: nn.Module, with_fused: bool) -> Rest:
    """The graph of `model` without the batch norms that follow a convolution."""
    graph = fx.symbolic_trace(copy.deepcopy(model).eval())
    modules = dict(graph.named_modules())
    calls = Counter(str(node.target) for node in graph.graph.nodes)
    pairs: dict[str, str] = {}
    for node in list(graph.graph.nodes):
        before = node.args[0] if node.op == "call_module" else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and calls[str(before.target)] == 1:
            pairs[str(before.target)] = str(node.target)
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
            node.replace_all_uses_with(before)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return Rest(graph, pairs, fuse(graph) if with_fused else {})


@torch.no_grad()
def folded_weights(model: nn.Module, pairs: Mapping[str, str], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The tensors that a folded graph computes with, detached; in `dtype` where one is given."""
    state = model.state_dict()
    norms = set(pairs.values())
    weights = {name: value for name, value in state.items() if name.rpartition(".")[0] not in norms}
    for conv, norm in pairs.items():
        module = model.get_submodule(norm)
        assert isinstance(module, nn.BatchNorm2d)
        scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + module.eps)
        mean = state[f"{norm}.running_mean"] - state.get(f"{conv}.bias", 0)
        weights[f"{conv}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        weights[f"{conv}.bias"] = state[f"{norm}.bias"] - mean * scale
    return {name: value.to(dtype if value.is_floating_point() else None, copy=True) for name, value in weights.items()}
