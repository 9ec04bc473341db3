"""The parameter gradients of a batch on a CPU, its parts in threads that meet at every batch norm.

Batch norm sees the whole batch: each part adds up its own sums, waits for the others, and goes on with the totals,
forward and backward. Between two meetings every operation runs in one thread, and a thread that waits does not spin.
Sums over parts are taken in their order, so the result does not depend on how many threads run at once.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..cores import allowed
from .folded import run
from .parts import one_thread, parts

MOST = 64  # images of a part: fewer, and its convolutions spend their time on starting

# The loss of the outputs of a whole batch, float (N, D), whose images are labelled so; differentiable in the outputs.
Loss = Callable[[Tensor, Tensor], Tensor]

T = TypeVar("T")
R = TypeVar("R")


class PartedBackward:
    """The mean cross-entropy of a batch of `count` images and its gradients, which it puts into the parameters; or
    another `loss`, for which all outputs meet.

    Batch norms in training mode learn the statistics of the whole batch, as in a pass of all images at once.
    """

    def __init__(self, model: nn.Module, precision: str, count: int, loss: Loss | None = None) -> None:
        self._model, self._precision, self._loss = model, precision, loss
        self._parts = parts(count, torch.device("cpu"), MOST)
        self._meeting = _Meeting(len(self._parts))
        narrow = precision == "bfloat16" and next(model.parameters()).dtype is torch.float32
        self._shared = {
            name: value.detach().bfloat16() if narrow and value.dim() > 1 else value.detach()
            for name, value in model.named_parameters()
        }
        changed = [name for name, value in model.named_parameters() if self._shared[name].dtype != value.dtype]
        self._wide = [model.get_parameter(name).detach() for name in changed]
        self._narrowed = [self._shared[name] for name in changed]
        self._replicas = [self._replica(part) for part in range(len(self._parts))]
        self._counters = [
            [model.get_buffer(name), *(replica.get_buffer(name) for replica in self._replicas)]
            for name in (f"{path}.num_batches_tracked" for path, layer in model.named_modules() if _draws(layer))
        ]
        self._trained = [own for own in model.parameters() if own.requires_grad]
        self._parameters = [[each for each in replica.parameters() if each.requires_grad] for replica in self._replicas]

    def _replica(self, part: int) -> nn.Module:
        """The model with parameters of its own, for their gradients, in the memory that all replicas share."""
        replica = copy.deepcopy(self._model)
        wanted = dict(self._model.named_parameters())
        for path, module in list(replica.named_modules()):
            beginning = f"{path}." if path else ""
            for name in list(module._parameters):
                if module._parameters[name] is not None:
                    full = beginning + name
                    module._parameters[name] = nn.Parameter(self._shared[full], wanted[full].requires_grad)
            if isinstance(module, nn.BatchNorm2d) and module.training:
                own = cast(nn.BatchNorm2d, self._model.get_submodule(path))
                replica.set_submodule(path, _SharedNorm(module, own, self._meeting, part))
            if _draws(module):
                cast(Any, module).first_row = self._parts[part].start
        return replica

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if self._narrowed:
            torch._foreach_copy_(self._narrowed, self._wide)
        for parameters in self._parameters:
            for parameter in parameters:
                parameter.grad = None
        for own, *others in self._counters:
            for other in others:
                other.copy_(own)
        losses = self._meeting.hold(lambda part: self._backward(part, images, labels))
        for own, first, *_ in self._counters:
            own.copy_(first)
        for own, total in zip(self._trained, self._totals(), strict=True):
            own.grad = total
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _totals(self) -> list[Tensor]:
        """The gradients of the parts added up, in order, each in the type and the memory layout of its parameter."""
        totals = [torch.empty_like(own) for own in self._trained]
        for part, parameters in enumerate(self._parameters):
            gradients = [cast(Tensor, parameter.grad) for parameter in parameters]
            if part == 0:
                torch._foreach_copy_(totals, gradients)
            else:
                torch._foreach_add_(totals, [gradient.to(totals[0].dtype) for gradient in gradients])
        return totals

    def _backward(self, part: int, images: Tensor, labels: Tensor) -> Tensor:
        here = self._parts[part]
        scores = run(self._replicas[part], images[here], self._precision)
        if self._loss:
            return self._through_all(self._loss, part, scores, labels)
        loss = F.cross_entropy(scores, labels[here], reduction="sum") / len(images)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _through_all(self, loss: Loss, part: int, outputs: Tensor, labels: Tensor) -> Tensor:
        """The gradients of a loss of all outputs; returns the loss in the first part, 0 in the others."""

        def with_gradient(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
            every = torch.cat(parts).requires_grad_()
            value = loss(every, labels)
            return value.detach(), torch.autograd.grad(value, every)[0]

        value, gradient = self._meeting.join(part, outputs.detach(), with_gradient)
        outputs.backward(gradient[self._parts[part]])  # type: ignore[no-untyped-call]
        return value if part == 0 else torch.zeros_like(value)


def _draws(layer: nn.Module) -> bool:
    """Whether a layer draws by its count of steps and by the place of an image in the batch."""
    return hasattr(layer, "first_row")


class _Meeting:
    """Threads, one a part, that put values together; as many of them compute at a time as there are cores."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = ThreadPoolExecutor(max(1, size - 1), "step", torch.set_num_threads, (1,))
        self._table = _Table(size)
        self._barrier = threading.Barrier(size, self._table.put_together)
        self._permits = threading.Semaphore(1)

    def hold(self, attend: Callable[[int], Tensor]) -> list[Tensor]:
        """`attend(part)` of every part, each in a thread of its own. Raises what the first part to fail raises."""
        self._permits = threading.Semaphore(allowed())
        self._barrier.reset()
        failures: list[BaseException] = []

        def one(part: int) -> Any:
            try:
                with self._permits:
                    return attend(part)
            except threading.BrokenBarrierError:  # another part failed
                return None
            except BaseException as failure:
                failures.append(failure)
                self._barrier.abort()
                return None

        with one_thread():
            others = [self._pool.submit(one, part) for part in range(1, self._size)]
            results = [one(0), *(other.result() for other in others)]
        self._table.clear()
        if failures:
            raise failures[0]
        return results

    def join(self, part: int, value: T, combine: Callable[[list[T]], R]) -> R:
        """`combine` of the values of all parts, in their order, once all are here; one thread computes it for all."""
        if self._size == 1:
            return combine([value])
        self._table.values[part], self._table.combine = value, combine
        self._permits.release()
        try:
            self._barrier.wait()
        finally:
            self._permits.acquire()
        return cast(R, self._table.result)  # nobody can be at the next meeting before this part is


class _Table:
    """What lies on the table of a meeting. It is apart so that a meeting which nobody holds any more ends at once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        self.values: list[Any] = [None] * self._size
        self.combine: Callable[[list[Any]], Any] = list
        self.result: Any = None

    def put_together(self) -> None:
        self.result = self.combine(self.values)


@dataclass(frozen=True)
class _Statistics:
    """Of the values of each channel: how many, their mean and variance, float (C,)."""

    count: int
    mean: Tensor
    variance: Tensor

    @staticmethod
    def of(x: Tensor, dtype: torch.dtype) -> _Statistics:
        unused = torch.zeros(2, x.shape[1], dtype=dtype)  # without them the results have the type of x
        mean, variance = torch.batch_norm_update_stats(x, unused[0], unused[1], 0.0)
        return _Statistics(x.numel() // x.shape[1], mean, variance)

    @staticmethod
    def together(parts: Sequence[_Statistics]) -> _Statistics:
        count = sum(part.count for part in parts)
        mean = torch.stack([part.mean * (part.count / count) for part in parts]).sum(0)
        spread = [(part.variance + (part.mean - mean) ** 2) * (part.count / count) for part in parts]
        return _Statistics(count, mean, torch.stack(spread).sum(0))


class _SharedNorm(nn.Module):
    """Batch norm of one part with the statistics of all."""

    def __init__(self, norm: nn.BatchNorm2d, own: nn.BatchNorm2d, meeting: _Meeting, part: int) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self._own, self._meeting, self._part = _Held(own), meeting, part

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Normalise.apply(x, self.weight, self.bias, self)
        return out

    def join(self, value: T, combine: Callable[[list[T]], R]) -> R:
        """`combine` of what the parts bring."""
        return self._meeting.join(self._part, value, combine)

    def learned(self, parts: Sequence[_Statistics]) -> _Statistics:
        """The statistics of the batch, towards which the model's own move."""
        batch, norm = _Statistics.together(parts), self._own.module
        if norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None:
            norm.running_mean.lerp_(batch.mean.to(norm.running_mean.dtype), norm.momentum)
            unbiased = batch.variance * (batch.count / max(1, batch.count - 1))
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1
        return batch


@dataclass(frozen=True)
class _Held:
    """A module that is not part of the one that holds it."""

    module: nn.BatchNorm2d = field(repr=False)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: _SharedNorm) -> Tensor:
        batch = norm.join(_Statistics.of(x, weight.dtype), norm.learned)
        ctx.norm, ctx.count = norm, batch.count
        ctx.save_for_backward(x, weight, batch.mean, batch.variance)
        return torch.native_batch_norm(x, weight, bias, batch.mean, batch.variance, False, 0.0, norm.eps)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """With x̂ = (x − mean) · s the gradient at x is w · s · (dy − mean(dy) − x̂ · mean(dy · x̂))."""
        x, weight, mean, variance = ctx.saved_tensors
        norm: _SharedNorm = ctx.norm

        def means(sums: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
            """What is missing, as a batch norm: slope · x̂ + offset."""
            factor = weight * torch.rsqrt(variance + norm.eps) / -ctx.count
            slopes, offsets = zip(*sums, strict=True)
            return torch.stack(slopes).sum(0) * factor, torch.stack(offsets).sum(0) * factor

        dx, at_weight, at_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, mean, variance, False, norm.eps, [True, True, True]
        )  # dx is w · s · dy
        slope, offset = norm.join((at_weight, at_bias), means)
        missing = torch.native_batch_norm(x, slope, offset, mean, variance, False, 0.0, norm.eps)[0]
        return dx.add_(missing), at_weight, at_bias, None
