"""Convolutions of a frozen network on a CPU, with the ReLU and the addition that follow inside them.

On cores with matrix units the convolutions are only two thirds of a pass through ResNet-18; the rest is memory traffic
of the ReLUs and shortcut additions between them. oneDNN applies both to values that it still holds. The input gradient
of a convolution is again a convolution, with the kernel turned round, and takes the gradient of the shortcut along in
the same way. Weights are packed for oneDNN once a freeze.
"""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

MAP_BYTES = 8 << 20  # of the largest map of a part of a batch: beyond it the allocator hands pages back between passes
TILE = 16  # pixels of a row that a matrix unit takes at once
NARROW = 4  # maps up to this width leave most of a tile empty: several images are laid side by side

_ADD = (operator.add, operator.iadd, torch.add)
_RELU = (F.relu, torch.relu)


class FusedConv(nn.Module):
    """relu(conv(x) + other), with or without the ReLU and `other`; with `carry` also x, for its second user."""

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.stride, self.padding = cast(tuple[int, int], conv.stride), cast(tuple[int, int], conv.padding)
        self.relu, self.carry = relu, False
        self.map_bytes = 0  # of an image's output, at the last pass
        self._zeros: dict[tuple[int, ...], Tensor] = {}  # buffers, black but for the places that are always written

    def load(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take these weights; nothing is kept of the ones before."""
        self._weight, self._bias = weight, bias
        self._turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        self._packed: dict[tuple[Any, ...], Tensor] = {}
        self._tiled = weight.dtype is torch.bfloat16 and _has_matrix_tiles()

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        x = x.to(self._weight.dtype).contiguous(memory_format=torch.channels_last)
        out, carried = _Fused.apply(x, other, self)
        self.map_bytes = out[0].numel() * out.element_size()
        return (out, carried) if self.carry else out

    def convolve(self, x: Tensor, other: Tensor | None) -> Tensor:
        return self._side_by_side(x, False, self.stride, other, self.relu)

    def input_gradient(self, gradient: Tensor, shape: torch.Size, other: Tensor | None) -> Tensor:
        """The gradient at an x of `shape`, plus `other`."""
        kernel = self._weight.shape[2:]
        turns = all(k == 2 * p + 1 for k, p in zip(kernel, self.padding, strict=True))
        if turns and self.stride == (1, 1):
            return self._side_by_side(gradient, True, self.stride, other, False)
        if turns and kernel != (1, 1) and self._tiled:  # a wide product on a tile is cheaper than a strided gather
            spread = self._zero_buffer((shape[0], gradient.shape[1], *shape[2:]), gradient)
            spread[:, :, :: self.stride[0], :: self.stride[1]] = gradient
            return self._side_by_side(spread, True, (1, 1), other, False)
        arguments = (None, self.stride, self.padding, (1, 1), False, (0, 0), 1, (True, False, False))
        x = gradient.new_empty(1).expand(shape)
        dx: Tensor = torch.ops.aten.convolution_backward(gradient, x, self._weight, *arguments)[0]
        return dx if other is None else dx.add_(other)

    def _side_by_side(
        self, x: Tensor, turned: bool, stride: tuple[int, int], other: Tensor | None, relu: bool
    ) -> Tensor:
        n, channels, height, width = x.shape
        pad, kernel = self.padding[1], self._weight.shape[3]
        if not (self._tiled and width <= NARROW and stride == (1, 1) and kernel == 2 * pad + 1 > 1):
            return self._product(x, turned, stride, other, relu)
        abreast = TILE // width
        rows = -(-n // abreast)
        if n < rows * abreast:
            x = torch.cat([x, x.new_zeros(rows * abreast - n, channels, height, width)])
        wide = self._zero_buffer((rows, channels, height, abreast * (width + pad)), x)
        seen = wide.permute(0, 2, 3, 1).view(rows, height, abreast, width + pad, channels)
        seen[:, :, :, :width] = x.permute(0, 2, 3, 1).view(rows, abreast, height, width, channels).transpose(1, 2)
        y = self._product(wide, turned, stride, None, False).permute(0, 2, 3, 1)
        y = y.reshape(rows, height, abreast, width + pad, -1)[:, :, :, :width].transpose(1, 2)
        y = y.reshape(rows * abreast, height, width, -1)[:n].permute(0, 3, 1, 2)
        if other is not None:
            y += other
        return y.relu_() if relu else y

    def _product(self, x: Tensor, turned: bool, stride: tuple[int, int], other: Tensor | None, relu: bool) -> Tensor:
        weight, bias = (self._turned, None) if turned else (self._weight, self._bias)
        ops, key, dilation = torch.ops.mkldnn, (turned, *x.shape), (1, 1)
        if key not in self._packed:
            place = self.padding, stride, dilation, 1, tuple(x.shape)
            self._packed[key] = ops._reorder_convolution_weight(weight, *place)
        common = self._packed[key], bias, self.padding, stride, dilation, 1
        if other is None:
            return cast(Tensor, ops._convolution_pointwise(x, *common, "relu" if relu else "none", [], ""))
        end = "relu" if relu else None
        return cast(Tensor, ops._convolution_pointwise.binary(x, other, *common, "add", None, end, [], ""))

    def _zero_buffer(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if shape not in self._zeros:
            zeros = torch.zeros(shape, dtype=like.dtype)
            self._zeros[shape] = zeros.contiguous(memory_format=torch.channels_last)
        return self._zeros[shape]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, other: Tensor | None, conv: FusedConv) -> tuple[Tensor, Tensor]:
        out = conv.convolve(x, other)
        ctx.conv, ctx.shape, ctx.other = conv, x.shape, other is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*([out] if conv.relu else []))
        return out, x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, carried: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if ctx.conv.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, *ctx.saved_tensors, 0)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return ctx.conv.input_gradient(gradient, ctx.shape, carried), gradient if ctx.other else None, None


def fuse(graph: fx.GraphModule) -> dict[str, FusedConv]:
    """Put a `FusedConv` in the place of every convolution that can be one, in `graph` itself; these, by name."""
    modules, found = dict(graph.named_modules()), {}
    calls = Counter(str(node.target) for node in graph.graph.nodes)
    for node in list(graph.graph.nodes):
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or (conv.groups, conv.dilation, conv.padding_mode) != (1, (1, 1), "zeros"):
            continue
        if calls[str(node.target)] > 1:
            continue
        tail, arguments = node, [node.args[0]]
        after = _only_user(tail)
        if after and _is(after, modules, _ADD, ()) and len(set(after.args)) == len(after.all_input_nodes) == 2:
            tail, arguments = after, [node.args[0], *(each for each in after.args if each is not node)]
        after = _only_user(tail)
        relu = bool(after and _is(after, modules, _RELU, (nn.ReLU,)))
        tail = after if after and relu else tail
        name = str(node.target)
        found[name] = FusedConv(conv, relu)
        graph.set_submodule(name, found[name])
        with graph.graph.inserting_before(tail):
            tail.replace_all_uses_with(graph.graph.call_module(name, tuple(arguments)))
        for old in dict.fromkeys((tail, *tail.all_input_nodes, node)):
            if not old.users and old.op != "placeholder":
                graph.graph.erase_node(old)
    _carry(graph, found)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return found


def _carry(graph: fx.GraphModule, found: dict[str, FusedConv]) -> None:
    """Where an x has two users, the first hands it to the second: its gradient then comes back through the first."""
    for node in list(graph.graph.nodes):
        conv = found.get(str(node.target)) if node.op == "call_module" else None
        users = list(node.args[0].users) if conv else []
        if conv is None or len(users) != 2 or next(each for each in graph.graph.nodes if each in users) is not node:
            continue
        conv.carry = True
        with graph.graph.inserting_after(node):
            carried = graph.graph.call_function(operator.getitem, (node, 1))
            out = graph.graph.call_function(operator.getitem, (node, 0))
        node.replace_all_uses_with(out, delete_user_cb=lambda user, new=(out, carried): user not in new)
        (second,) = (each for each in users if each is not node)
        second.replace_input_with(node.args[0], carried)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _is(node: fx.Node, modules: dict[str, nn.Module], functions: tuple[Any, ...], kinds: tuple[type, ...]) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], kinds)
    return node.op == "call_function" and node.target in functions


@functools.cache
def available() -> bool:
    """Whether this build of torch has oneDNN's fused convolutions."""
    conv = FusedConv(nn.Conv2d(1, 1, 1), relu=True)
    try:
        conv.load(torch.zeros(1, 1, 1, 1), torch.zeros(1))
        conv(torch.zeros(1, 1, 1, 1))
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return True


def _has_matrix_tiles() -> bool:
    probe: Callable[[], bool] = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return probe()
