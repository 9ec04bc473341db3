"""Convolutions of a folded network on a CPU that also compute the ReLU and the addition that follow them.

On cores with matrix units the convolutions are only two thirds of a pass through ResNet-18; the rest is memory traffic
of the ReLUs and shortcut additions between them. oneDNN applies both to values that it still holds. The input gradient
of a convolution is again a convolution, with the kernel rotated by 180 degrees, and adds the gradient of the shortcut
in the same way. Weights are packed for oneDNN each time they are loaded.

The operators are private ones of torch, which may change with any release. `available` therefore compares them once
per process with torch's own convolution and its autograd; where they differ, the plain pass is used. The environment
variable SEMSHARD_FUSED=off switches them off.
"""

from __future__ import annotations

import functools
import operator
import os
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from .kernels import Operators, PackedKernel, Spread, onednn

MAP_BYTES = 8 << 20  # of the largest map of a part of a batch: above it the allocator returns pages between passes
TILE = 16  # pixels of a row that a matrix unit takes at once
NARROW = 4  # maps up to this width leave most of a tile empty: several images are placed side by side
ROUNDING = 2**-7  # of the largest value: what three roundings to bfloat16 may change
SWITCH = "SEMSHARD_FUSED"

ADD = (operator.add, operator.iadd, torch.add)
RELU = (F.relu, torch.relu)


class FusedConv(nn.Module, ABC):
    """relu(conv(x) + other), with or without the ReLU and `other`; with `carry` also x, for its second user."""

    _weight: Tensor

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        self.stride, self.padding = cast(tuple[int, int], conv.stride), cast(tuple[int, int], conv.padding)
        self.relu, self.carry = relu, False
        self.map_bytes = 0  # of an image's output, at the last pass

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        out, carried = _Fused.apply(self.prepared(x), other, self)
        return (out, carried) if self.carry else out

    def prepared(self, x: Tensor) -> Tensor:
        """x in the type and the memory layout of the weights."""
        return x.to(self._weight.dtype).contiguous(memory_format=torch.channels_last)

    @abstractmethod
    def load(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take these weights in the place of earlier ones."""

    @abstractmethod
    def convolve(self, x: Tensor, other: Tensor | None) -> Tensor:
        """relu(conv(x) + other) of a prepared x."""

    @abstractmethod
    def input_gradient(self, gradient: Tensor, shape: torch.Size, other: Tensor | None) -> Tensor:
        """The gradient at an x of `shape`, plus `other`, of the gradient before the ReLU."""

    def _plain_input_gradient(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The same by torch's own operator, of which x says shape and memory layout."""
        arguments = (None, self.stride, self.padding, (1, 1), False, (0, 0), 1, (True, False, False))
        dx: Tensor = torch.ops.aten.convolution_backward(gradient, x, self._weight, *arguments)[0]
        return dx


class OnednnConv(FusedConv):
    """A fused convolution on a CPU."""

    def __init__(self, conv: nn.Conv2d, relu: bool, operators: Operators | None = None) -> None:
        super().__init__(conv, relu)
        self._operators = operators or onednn()
        self._zeros = _Buffers()

    def load(self, weight: Tensor, bias: Tensor | None) -> None:
        kernel = cast(tuple[int, int], tuple(weight.shape[2:]))
        rotated = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        self._forward = PackedKernel(self._operators, weight, bias, self.padding)
        self._spread = None
        if self.stride == (1, 1):
            centred = (kernel[0] - 1 - self.padding[0], kernel[1] - 1 - self.padding[1])
            self._backward = PackedKernel(self._operators, rotated, None, centred) if min(centred) >= 0 else None
        elif kernel == (1, 1) and self.padding == (0, 0):
            self._backward = PackedKernel(self._operators, rotated, None, (0, 0))
        else:
            self._backward, self._spread = None, Spread.of(weight, self.stride, self.padding, self._operators)
        self._weight = weight
        self._tiled = weight.dtype is torch.bfloat16 and _has_matrix_tiles()

    def convolve(self, x: Tensor, other: Tensor | None) -> Tensor:
        out = self._side_by_side(self._forward, x, self.stride, other, self.relu)
        self.map_bytes = out[0].numel() * out.element_size()
        return out

    def input_gradient(self, gradient: Tensor, shape: torch.Size, other: Tensor | None) -> Tensor:
        if self._spread:
            dx = self._spread(gradient, shape)
        elif self._backward is None:  # padded beyond its kernel
            dx = self._plain_input_gradient(gradient, gradient.new_empty(1).expand(shape))
        elif self.stride == (1, 1):
            return self._side_by_side(self._backward, gradient, (1, 1), other, False)
        else:  # a 1 × 1 kernel reaches every so many pixels only
            dx = torch.zeros(shape, dtype=gradient.dtype).contiguous(memory_format=torch.channels_last)
            dx[:, :, :: self.stride[0], :: self.stride[1]] = self._backward(gradient)
        return dx if other is None else dx.add_(other)

    def _side_by_side(
        self, kernel: PackedKernel, x: Tensor, stride: tuple[int, int], other: Tensor | None, relu: bool
    ) -> Tensor:
        n, channels, height, width = x.shape
        pad, across = kernel.padding[1], kernel.weight.shape[3]
        if not (self._tiled and width <= NARROW and stride == (1, 1) and across == 2 * pad + 1 > 1):
            return kernel(x, stride, other, relu)
        abreast = TILE // width
        rows = -(-n // abreast)
        if n < rows * abreast:
            x = torch.cat([x, x.new_zeros(rows * abreast - n, channels, height, width)])
        wide = self._zeros((rows, channels, height, abreast * (width + pad)), x)
        seen = wide.permute(0, 2, 3, 1).view(rows, height, abreast, width + pad, channels)
        seen[:, :, :, :width] = x.permute(0, 2, 3, 1).view(rows, abreast, height, width, channels).transpose(1, 2)
        y = kernel(wide, stride).permute(0, 2, 3, 1)
        y = y.reshape(rows, height, abreast, width + pad, -1)[:, :, :, :width].transpose(1, 2)
        y = y.reshape(rows * abreast, height, width, -1)[:n].permute(0, 3, 1, 2)
        if other is not None:
            y += other
        return y.relu_() if relu else y


class _Buffers(threading.local):
    """Buffers of the calling thread, 0 except where every pass writes."""

    def __init__(self) -> None:
        self._zeros: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        if shape not in self._zeros:
            zeros = torch.zeros(shape, dtype=like.dtype)
            self._zeros[shape] = zeros.contiguous(memory_format=torch.channels_last)
        return self._zeros[shape]


Kind = Callable[[nn.Conv2d, bool], FusedConv]  # of a convolution, and whether a ReLU follows


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


def fuse(graph: fx.GraphModule, kind: Kind = OnednnConv) -> dict[str, FusedConv]:
    """Replace every convolution of `graph` that can be a fused one of this kind, in place; returns these by name."""
    modules, fused = dict(graph.named_modules()), dict[str, FusedConv]()
    calls = Counter(str(node.target) for node in graph.graph.nodes)
    for node in list(graph.graph.nodes):
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, nn.Conv2d) or (conv.groups, conv.dilation, conv.padding_mode) != (1, (1, 1), "zeros"):
            continue
        if calls[str(node.target)] > 1:
            continue
        tail, arguments = node, [node.args[0]]
        after = _only_user(tail)
        if after and _is(after, modules, ADD, ()) and len(set(after.args)) == len(after.all_input_nodes) == 2:
            tail, arguments = after, [node.args[0], *(each for each in after.args if each is not node)]
        after = _only_user(tail)
        relu = bool(after and _is(after, modules, RELU, (nn.ReLU,)))
        tail = after if after and relu else tail
        name = str(node.target)
        fused[name] = kind(conv, relu)
        graph.set_submodule(name, fused[name])
        with graph.graph.inserting_before(tail):
            tail.replace_all_uses_with(graph.graph.call_module(name, tuple(arguments)))
        for old in dict.fromkeys((tail, *tail.all_input_nodes, node)):
            if not old.users and old.op != "placeholder":
                graph.graph.erase_node(old)
    _carry(graph, fused)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return fused


def _carry(graph: fx.GraphModule, fused: dict[str, FusedConv]) -> None:
    """Where an x has two users, the first passes it to the second: its gradient then comes back through the first."""
    for node in list(graph.graph.nodes):
        conv = fused.get(str(node.target)) if node.op == "call_module" else None
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


def available() -> bool:
    """Whether fused convolutions are switched on and compute what plain ones compute; measured once per process."""
    return reason() is None


@functools.cache
def reason() -> str | None:
    """Why fused convolutions are not used, in a sentence for the user; None where they are."""
    if os.environ.get(SWITCH, "").strip().lower() == "off":
        return f"fused convolutions are switched off ({SWITCH}=off): the plain pass is used"
    fault = problem()
    return f"{fault}: the plain pass is used, which is slower" if fault else None


def problem(find: Callable[[], Operators] = onednn) -> str | None:
    """What is wrong with the operators that `find` returns; None where they compute what torch's own convolution does.

    Takes a few hundredths of a second and draws nothing from torch's global random state.
    """

    def conv(conv: nn.Conv2d, relu: bool) -> FusedConv:
        return OnednnConv(conv, relu, find())

    return problem_of(conv, torch.device("cpu"), _VARIANTS, "this CPU")


def problem_of(kind: Kind, device: torch.device, variants: Sequence[Variant], where: str) -> str | None:
    """What is wrong with a kind of `FusedConv` on a device, `where` in words; None where nothing is."""
    try:
        with (
            _one_thread(),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            wrong = [variant.name for variant in variants if not variant.agrees(kind, device)]
    except (RuntimeError, AttributeError, NotImplementedError, TypeError, ValueError) as error:
        why = next(iter(str(error).splitlines()), type(error).__name__)
        return f"torch {torch.__version__} lacks fused convolutions on {where} ({why})"
    if wrong:
        return f"fused convolutions of torch {torch.__version__} differ from plain ones ({', '.join(wrong)})"
    return None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it, torch computes in one thread: on tiny inputs several only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Variant:
    """One way in which a network uses `FusedConv`, on a tiny input."""

    name: str
    relu: bool = False
    other: bool = False
    kernel: int = 3
    stride: int = 1
    tiled: bool = False
    n: int = 2
    side: int = 6
    channels: tuple[int, int] = (3, 5)

    def agrees(self, kind: Kind, device: torch.device) -> bool:
        """Whether the outputs and the input gradient are those of autograd, up to the rounding of bfloat16."""
        random = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random).to(device)

        ins, outs = self.channels
        x, weight, bias = draw(self.n, ins, self.side, self.side), draw(outs, ins, self.kernel, self.kernel), draw(outs)
        x, weight, bias = (_rounded(values) for values in (x, weight, bias))
        fused_x, x = _narrow(x).requires_grad_(), x.requires_grad_()
        plain = F.conv2d(x, weight, bias, self.stride, self.kernel // 2)
        other, gradient = (_rounded(draw(*plain.shape)) for _ in range(2))

        conv = nn.Conv2d(ins, outs, self.kernel, self.stride, self.kernel // 2, device="meta")  # draws no weights
        fused = kind(conv, self.relu)
        fused.carry = True
        fused.load(_narrow(weight), _narrow(bias))
        if isinstance(fused, OnednnConv):
            fused._tiled = self.tiled
        torch.full_like(_narrow(plain), float("nan"))  # freed at once, so that on a GPU the output gets this memory
        out, carried = fused(fused_x, _narrow(other) if self.other else None)
        (ours,) = torch.autograd.grad((out * gradient).sum() + carried.sum(), fused_x)

        expected = plain + other if self.other else plain
        if self.relu:
            expected, gradient = expected.relu(), gradient * (out > 0)  # the same side where rounding decides the sign
        (theirs,) = torch.autograd.grad((plain * gradient).sum() + x.sum(), x)
        return _close(out, expected) and _close(ours, theirs)


_VARIANTS = (
    Variant("ReLU", relu=True),
    Variant("sum", relu=True, other=True),
    Variant("strided", relu=True, stride=2),
    Variant("strided shortcut", kernel=1, stride=2),
    Variant("tiled", relu=True, other=True, tiled=True, n=5, side=4),
    Variant("strided and tiled", relu=True, stride=2, tiled=True, side=4),
)


def _rounded(values: Tensor) -> Tensor:
    """The nearest values that bfloat16 can hold, float32."""
    return values.bfloat16().float()


def _narrow(values: Tensor) -> Tensor:
    layout = torch.channels_last if values.ndim == 4 else torch.contiguous_format
    return values.detach().bfloat16().contiguous(memory_format=layout)


def _close(narrow: Tensor, exact: Tensor) -> bool:
    difference = (narrow.float() - exact).abs().max()
    return narrow.shape == exact.shape and bool(difference <= ROUNDING * exact.abs().max())


def _has_matrix_tiles() -> bool:
    probe: Callable[[], bool] = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return probe()
