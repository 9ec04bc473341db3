"""A network in evaluation mode, its batch norms folded into its convolutions, without parameter gradients.

In evaluation mode a convolution followed by batch norm is again a convolution, with weight w·γ/σ and bias
β − μ·γ/σ. Folding takes microseconds, and it saves a third of a forward and backward pass on a CPU. The network itself
is left as it is, in whatever mode it is in.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from . import cudnn
from .captured import Graphs, is_capturing, on_gpu
from .explicit import ExplicitPass
from .fused import MAP_BYTES, FusedConv, available, fuse
from .parts import LEAST, MOST, in_parts, spare


def run(network: Callable[[Tensor], Tensor], images: Tensor, precision: str) -> Tensor:
    """Scores, float, of images by a network, its arithmetic in `precision`."""
    images = images.contiguous(memory_format=torch.channels_last)
    if images.dtype == torch.float64:  # held against the reference: every digit counts
        return network(images)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
        return network(images).float()


class FoldedNetwork:
    """A network in evaluation mode with its batch norms folded, for scores and input gradients.

    It computes with the weights that `model` had at the last `refresh`, the first of which happens here. `remark`
    receives a sentence when the device's memory makes smaller parts necessary.
    """

    def __init__(self, model: nn.Module, precision: str, remark: Callable[[str], None] = lambda sentence: None) -> None:
        parameter = next(model.parameters())
        self._narrow = precision == "bfloat16" and parameter.dtype is torch.float32
        self._model, self._precision, self._remark = model, precision, remark
        self._graph, self._pairs = fold_graph(model)
        self._names = set(self._graph.state_dict())  # a layer that only trains is not in it
        self._whole = on_gpu(parameter.device)  # batches go through whole, captured
        self._fused = self._fuse(parameter.device) if self._narrow else {}
        self._weights: dict[str, Tensor] = {}  # the same tensors at every refresh: a captured graph reads them
        self._most = 1 << 30  # images that go through at once: what the memory holds
        self._parts: dict[torch.Size, int] = {}  # … and what the CPU's caches hold, by the shape of an image
        self.graphs = Graphs(parameter.device, remark)  # what is captured with the weights of this network
        self._explicit: ExplicitPass | None = None
        self.refresh()
        self._explicit = ExplicitPass.of(self._graph, self._weights) if self._fused else None

    def refresh(self) -> None:
        """Take the weights and the batch-norm statistics that the model has now."""
        if self._whole and self._weights:
            self.graphs("refresh", self._overwrite)
            return
        weights = folded_weights(self._model, self._pairs, torch.bfloat16 if self._narrow else None)
        for name, conv in self._fused.items():
            weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
            conv.load(weight, bias)
            if not self._whole:  # it is packed anew every time
                del weights[f"{name}.weight"]
                weights.pop(f"{name}.bias", None)
        for name, value in weights.items():
            if name not in self._names:
                continue
            if name in self._weights:
                self._weights[name].copy_(value)
            else:
                self._weights[name] = value
                _put(self._graph, name, value)

    def _fuse(self, device: torch.device) -> dict[str, FusedConv]:
        """The convolutions of the graph that were fused."""
        if self._whole:
            return fuse(self._graph, cudnn.CudnnConv) if cudnn.available(device) else {}
        return fuse(self._graph) if available() else {}

    @torch.no_grad()
    def _overwrite(self) -> Tensor:
        """Fold into the tensors that are there, in a few kernels; returns one of them."""
        values = {name: value for name, value in folded(self._model, self._pairs).items() if name in self._weights}
        narrow, other = list[str](), list[str]()
        for name, value in values.items():
            (narrow if value.is_floating_point() else other).append(name)
        torch._foreach_copy_([self._weights[name] for name in narrow], [values[name] for name in narrow])
        for name in other:
            self._weights[name].copy_(values[name])
        return min((self._weights[name] for name in narrow), key=torch.Tensor.numel)

    def __call__(self, images: Tensor) -> Tensor:
        """Class scores, float (N, classes), of float images (N, 3, H, W) in [0, 1]; differentiable in the images."""
        explicit = self._explicit
        if explicit is None or (torch.is_grad_enabled() and images.requires_grad):
            return run(self._graph, images, self._precision)
        pieces = torch.split(images, min(self._most, self._part(images)))
        scores = [explicit.scores(piece) for piece in pieces] if self._whole else in_parts(explicit.scores, pieces)
        return torch.cat(scores)

    def gradient(self, images: Tensor, labels: Tensor, centred: bool = False) -> Tensor:
        """The gradient of the cross-entropy, summed over the batch, at float images (N, 3, H, W), in their dtype;
        labels are int64 (N,), or shares of the classes, float (N, classes). `centred` images are in ±½ instead of
        [0, 1]: what a network computes with that subtracts ½ first, so nothing is lost where they are bfloat16.

        No image's gradient depends on another image. Where the device's memory does not hold the batch, it goes
        through in halves, and so do all later ones.
        """
        most = min(self._most, self._part(images))
        if not self._whole and self._explicit and len(images) <= most and (idle := spare()):  # no bit depends on it
            most = max(LEAST, -(-len(images) // (1 + idle)))
        try:
            pieces = list(zip(torch.split(images, most), torch.split(labels, most), strict=True))
            if self._whole:
                gradients = [self._gradient(*piece, centred) for piece in pieces]
            else:
                gradients = in_parts(lambda piece: self._gradient(*piece, centred), pieces)
        except torch.OutOfMemoryError:
            if min(most, len(images)) == 1 or is_capturing():
                raise
            self._most = (min(most, len(images)) + 1) // 2
            self._remark(f"the device's memory is short: gradients are taken of {self._most} images at a time")
            return self.gradient(images, labels, centred)
        return gradients[0] if len(gradients) == 1 else torch.cat(gradients)

    def _gradient(self, images: Tensor, labels: Tensor, centred: bool) -> Tensor:
        pass_ = self._explicit.gradient if self._explicit else self._plain_gradient
        return self.graphs(("gradient", centred), partial(pass_, centred=centred), images, labels)

    def _plain_gradient(self, images: Tensor, labels: Tensor, centred: bool = False) -> Tensor:
        seen = images.detach()
        if centred:
            seen = seen.to(torch.promote_types(images.dtype, torch.float32)) + 0.5
        seen = seen.requires_grad_()
        loss = F.cross_entropy(self(seen), labels, reduction="sum")
        return torch.autograd.grad(loss, seen)[0].to(images.dtype)

    def _part(self, images: Tensor) -> int:
        """How many images go through at once: on a CPU as many as have their largest map near it, but no more than
        occupy all threads.
        """
        if self._whole or len(images) == 0:
            return max(1, len(images))
        if not self._fused:
            return MOST
        shape = images.shape[1:]
        if shape not in self._parts:
            with torch.no_grad():
                run(self._graph, images[:1], self._precision)
            largest = max(conv.map_bytes for conv in self._fused.values())
            self._parts[shape] = min(MOST, 1 << max(0, (MAP_BYTES // largest).bit_length() - 1))
        return self._parts[shape]


def _put(graph: fx.GraphModule, name: str, value: Tensor) -> None:
    """Give the graph this tensor as its parameter or buffer `name`, without a gradient."""
    path, _, leaf = name.rpartition(".")
    module = graph.get_submodule(path)
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(value, requires_grad=False)
    elif leaf in module._buffers:
        module._buffers[leaf] = value


def fold_graph(model: nn.Module) -> tuple[fx.GraphModule, dict[str, str]]:
    """A copy of `model` as a graph without the batch norms that follow a convolution; and which batch norm (value)
    is to be folded into which convolution (key).
    """
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
    return graph, pairs


@torch.no_grad()
def folded_weights(model: nn.Module, pairs: Mapping[str, str], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The tensors that a folded graph computes with, detached; in `dtype` where one is given."""
    return {
        name: value.to(dtype if value.is_floating_point() else None, copy=True)
        for name, value in folded(model, pairs).items()
    }


def folded(model: nn.Module, pairs: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors that a folded graph computes with, some of them the model's own. Vectors are computed for all batch
    norms at once, in a few kernels.
    """
    state = model.state_dict()
    norms = set(pairs.values())
    weights = {name: value for name, value in state.items() if name.rpartition(".")[0] not in norms}
    if not pairs:
        return weights
    means = [state[f"{norm}.running_mean"] for norm in pairs.values()]
    if biases := [conv for conv in pairs if f"{conv}.bias" in state]:
        own = dict(zip(pairs, means, strict=True))
        less = torch._foreach_sub([own[conv] for conv in biases], [state[f"{conv}.bias"] for conv in biases])
        means = list((own | dict(zip(biases, less, strict=True))).values())
    epsilons = [cast(nn.BatchNorm2d, model.get_submodule(norm)).eps for norm in pairs.values()]
    scales = torch._foreach_add([state[f"{norm}.running_var"] for norm in pairs.values()], epsilons)
    torch._foreach_rsqrt_(scales)
    torch._foreach_mul_(scales, [state[f"{norm}.weight"] for norm in pairs.values()])
    shifts = torch._foreach_sub([state[f"{norm}.bias"] for norm in pairs.values()], torch._foreach_mul(means, scales))
    for conv, scale, shift in zip(pairs, scales, shifts, strict=True):
        weights[f"{conv}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        weights[f"{conv}.bias"] = shift
    return weights
