"""The input gradient of a folded network as a list of calls, forward and backward, without autograd.

A pass of a small network through autograd spends as long on its bookkeeping as on the convolutions of a part of a
batch. Here every operation of the graph has its backward beside it; a network with any other operation is left to
autograd. Gradients that meet at one value are added by the convolution that computes the last of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .fused import ADD, RELU, FusedConv

Saved = Any
LAST = torch.channels_last
SUB = (operator.sub, torch.sub)


@dataclass(frozen=True)
class Operation:
    """An operation of a network: what it computes of its inputs, and their gradients of its own.

    `forward(*inputs)` returns the output and what `backward` needs. `backward(gradient, saved, carried)` returns the
    gradients of the inputs; `carried` is what the first input has as gradient so far, to be added, or None.
    """

    forward: Callable[..., tuple[Tensor, Saved]]
    backward: Callable[[Tensor, Saved, Tensor | None], tuple[Tensor, ...]]


@dataclass(frozen=True)
class _Call:
    operation: Operation
    inputs: tuple[int, ...]  # numbers of values; a call's own output has its place in the list + 1


class ExplicitPass:
    """Input gradients by the calls of a graph, in the weights that its modules and `weights` hold at the time."""

    def __init__(self, calls: list[_Call], centres: bool) -> None:
        self._calls, self._centres = calls, centres
        self._last_use = {number: place for place, call in enumerate(calls) for number in call.inputs}

    @classmethod
    def of(cls, graph: fx.GraphModule, weights: Mapping[str, Tensor]) -> ExplicitPass | None:
        """The calls of `graph`; None where one of them has no backward here."""
        modules, numbers, calls = dict(graph.named_modules()), dict[fx.Node, int](), list[_Call]()
        centres = False  # whether the first call subtracts ½ from the images, which nothing else reads
        for node in graph.graph.nodes:
            if node.op == "placeholder":
                numbers[node] = 0
            elif node.op == "output":
                return cls(calls, centres) if numbers.get(node.args[0]) == len(calls) else None
            elif (same := _same_as(node, modules)) is not None:
                numbers[node] = numbers[same]
            elif node.op != "get_attr":
                operation = _operation(node, modules, weights)
                inputs = [each for each in node.args if isinstance(each, fx.Node) and each.op != "get_attr"]
                if operation is None or (node.kwargs and node.target not in RELU):
                    return None
                if not calls:
                    centres = node.target in SUB and node.args[1] == 0.5 and len(inputs[0].users) == 1
                calls.append(_Call(operation, tuple(numbers[each] for each in inputs)))
                numbers[node] = len(calls)
        return None

    @torch.no_grad()
    def scores(self, images: Tensor) -> Tensor:
        """Class scores, float (N, classes), of float images (N, 3, H, W) in [0, 1]."""
        return self._forward(images, None).float()

    @torch.no_grad()
    def gradient(self, images: Tensor, labels: Tensor, centred: bool = False) -> Tensor:
        """The gradient of the cross-entropy, summed over the batch, at float images (N, 3, H, W), in their dtype and
        memory layout; labels are int64 (N,), or shares of the classes, float (N, classes). `centred` images are less ½.
        """
        saved: list[Saved] = []
        scores = self._forward(images, saved, centred)
        gradients: list[Tensor | None] = [None] * len(self._calls)
        gradients.append(_loss_gradient(scores.float(), labels).to(scores.dtype))
        for call in reversed(self._calls):
            gradient, kept = gradients.pop(), saved.pop()
            assert gradient is not None
            first, *others = call.operation.backward(gradient, kept, gradients[call.inputs[0]])
            gradients[call.inputs[0]] = first
            for number, other in zip(call.inputs[1:], others, strict=True):
                before = gradients[number]
                gradients[number] = other if before is None else before + other
        (at_images,) = gradients
        assert at_images is not None
        last = images.is_contiguous(memory_format=LAST) and not images.is_contiguous()
        return at_images.to(images.dtype, memory_format=LAST if last else torch.contiguous_format)

    def _forward(self, images: Tensor, saved: list[Saved] | None, centred: bool = False) -> Tensor:
        """The output of the last call; what their backward needs goes into `saved`."""
        skips = centred and self._centres
        values: dict[int, Tensor] = {0: images.float() + 0.5 if centred and not skips else images}
        for place, call in enumerate(self._calls):
            if place == 0 and skips:
                values[1], kept = images, None
            else:
                values[place + 1], kept = call.operation.forward(*(values[number] for number in call.inputs))
            if saved is not None:
                saved.append(kept)
            for number in call.inputs:
                if self._last_use[number] == place:
                    values.pop(number, None)
        return values[len(self._calls)]


def _loss_gradient(scores: Tensor, labels: Tensor) -> Tensor:
    """softmax − target: float (N, classes)."""
    gradient = torch.softmax(scores, 1)
    if labels.is_floating_point():
        return gradient.mul_(labels.sum(1, keepdim=True)).sub_(labels)
    classes = torch.arange(scores.shape[1], device=scores.device)  # no scatter: on a GPU it would have to sort first
    return gradient.sub_((labels[:, None] == classes).to(gradient.dtype))


# --- operations ---------------------------------------------------------------------------------------------------


def _same_as(node: fx.Node, modules: Mapping[str, nn.Module]) -> fx.Node | None:
    """The node whose value this one is: an identity, or one of the two results of a `FusedConv` that carries."""
    if node.op == "call_module" and isinstance(modules[str(node.target)], (nn.Identity, nn.Dropout)):
        return node.args[0]  # type: ignore[return-value]
    if node.op == "call_function" and node.target is operator.getitem:
        conv, which = node.args
        if isinstance(conv, fx.Node) and isinstance(modules.get(str(conv.target)), FusedConv):
            return conv if which == 0 else conv.args[0]  # type: ignore[return-value]
    return None


def _operation(node: fx.Node, modules: Mapping[str, nn.Module], weights: Mapping[str, Tensor]) -> Operation | None:
    if node.op == "call_module":
        return _of_module(modules[str(node.target)], str(node.target), weights)
    constant = _constant(node, weights)
    if node.target in SUB and constant is not None:
        return Operation(lambda x: (x - constant(), None), lambda gradient, saved, carried: (_sum(gradient, carried),))
    if node.target in (operator.mul, torch.mul) and constant is not None:
        return Operation(
            lambda x: (x * constant(), None), lambda gradient, saved, carried: (_sum(gradient * constant(), carried),)
        )
    if node.target in RELU:
        return _RECTIFIED
    if node.target in ADD and constant is None and len(set(node.args)) == 2:
        return Operation(
            lambda x, y: (x + y, None), lambda gradient, saved, carried: (_sum(gradient, carried), gradient)
        )
    if node.target is torch.flatten and node.args[1:] in ((1,), (1, -1)):
        return Operation(lambda x: (x.flatten(1), x.shape), _unflattened)
    if node.op == "call_method" and node.target == "mean" and node.args[1:] in (((2, 3),), ([2, 3],)):
        return Operation(lambda x: (x.mean((2, 3)), x.shape), _spread_mean)
    if node.op == "call_method" and node.target == "amax" and node.args[1:] in (((2, 3),), ([2, 3],)):
        return Operation(_largest, _to_the_largest)
    return None


def _constant(node: fx.Node, weights: Mapping[str, Tensor]) -> Callable[[], Any] | None:
    """The second operand of a node, where it is a number or a tensor of the model."""
    other = node.args[1] if len(node.args) == 2 else None
    if isinstance(other, float):
        return lambda: other
    if isinstance(other, fx.Node) and other.op == "get_attr" and str(other.target) in weights:
        return lambda: weights[str(other.target)]
    return None


def _of_module(module: nn.Module, name: str, weights: Mapping[str, Tensor]) -> Operation | None:
    if isinstance(module, FusedConv):
        return _convolution(module)
    if isinstance(module, nn.ReLU):
        return _RECTIFIED
    if isinstance(module, nn.Linear):
        return _linear(weights, name)
    if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1)):
        return Operation(lambda x: (x.mean((2, 3), keepdim=True), x.shape), _spread_mean)
    if isinstance(module, nn.MaxPool2d) and not module.return_indices:
        return _pooled(module)
    return None


def _convolution(conv: FusedConv) -> Operation:
    def forward(x: Tensor, other: Tensor | None = None) -> tuple[Tensor, Saved]:
        x = conv.prepared(x)
        out = conv.convolve(x, other)
        return out, (x.shape, out if conv.relu else None, other is not None)

    def backward(gradient: Tensor, saved: Saved, carried: Tensor | None) -> tuple[Tensor, ...]:
        shape, out, has_other = saved
        gradient = gradient.contiguous(memory_format=LAST)
        if conv.relu:
            gradient = torch.ops.aten.threshold_backward.default(gradient, out, 0)
        first = conv.input_gradient(gradient, shape, carried)
        return (first, gradient) if has_other else (first,)

    return Operation(forward, backward)


def _linear(weights: Mapping[str, Tensor], name: str) -> Operation:
    weight = f"{name}.weight"

    def forward(x: Tensor) -> tuple[Tensor, Saved]:
        return F.linear(x.to(weights[weight].dtype), weights[weight], weights.get(f"{name}.bias")), None

    return Operation(forward, lambda gradient, saved, carried: (_sum(gradient @ weights[weight], carried),))


def _pooled(pool: nn.MaxPool2d) -> Operation:
    settings = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    sizes = [[value, value] if isinstance(value, int) else list(value) for value in settings[:4]]

    def forward(x: Tensor) -> tuple[Tensor, Saved]:
        out, where = torch.ops.aten.max_pool2d_with_indices(x, *sizes, pool.ceil_mode)
        return out, (x, where)

    def backward(gradient: Tensor, saved: Saved, carried: Tensor | None) -> tuple[Tensor, ...]:
        x, where = saved
        gradient = gradient.contiguous(memory_format=LAST)
        call = torch.ops.aten.max_pool2d_with_indices_backward
        return (_sum(call(gradient, x, *sizes, pool.ceil_mode, where), carried),)

    return Operation(forward, backward)


def _rectified_back(gradient: Tensor, out: Tensor, carried: Tensor | None) -> tuple[Tensor, ...]:
    return (_sum(torch.ops.aten.threshold_backward.default(gradient, out, 0), carried),)


def _rectified(x: Tensor) -> tuple[Tensor, Tensor]:
    out = F.relu(x)
    return out, out


_RECTIFIED = Operation(_rectified, _rectified_back)


def _spread_mean(gradient: Tensor, shape: torch.Size, carried: Tensor | None) -> tuple[Tensor, ...]:
    height, width = shape[2:]
    each = gradient.reshape(shape[0], shape[1], 1, 1) * (1 / (height * width))
    return (_sum(each.expand(shape).contiguous(memory_format=LAST), carried),)


def _largest(x: Tensor) -> tuple[Tensor, Saved]:
    out = x.amax((2, 3), keepdim=True)
    return out.flatten(1), (x, out)


def _to_the_largest(gradient: Tensor, saved: Saved, carried: Tensor | None) -> tuple[Tensor, ...]:
    """Positions that share the largest value share its gradient, as in autograd."""
    x, out = saved
    at_largest = x == out
    each = gradient[:, :, None, None] / at_largest.sum((2, 3), keepdim=True)
    return (_sum((each * at_largest).contiguous(memory_format=LAST), carried),)


def _unflattened(gradient: Tensor, shape: torch.Size, carried: Tensor | None) -> tuple[Tensor, ...]:
    return (_sum(gradient.reshape(shape), carried),)


def _sum(gradient: Tensor, carried: Tensor | None) -> Tensor:
    return gradient if carried is None else gradient + carried
