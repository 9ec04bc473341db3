"""CUDA graphs: a hundred or ten thousand kernels started as one, so that a small batch does not wait for the host.

A graph computes with the tensors that it was captured with. The inputs of the moment are copied into them before a
replay; weights stay in the same tensors from one refresh, and one step, to the next. Random numbers come from a
generator that is registered with the graph: it gets the state of the caller's before a replay, and gives it back
after, so a replay draws what the plain function would have drawn.
"""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

HOST = "cpu"  # the type of device whose cores share a batch; any other takes it whole, its kernels captured
MOST = 4  # shapes for which a function is captured; it is called plainly for others
TRIES = 2  # a capture that fails once may have met another program's peak of memory
WARM_UP = 3  # calls before a capture: libraries choose their kernels, and constants are made

Function = Callable[..., Tensor]  # of tensors, and of generator=… where it draws

_capturing = threading.local()


def on_gpu(device: torch.device) -> bool:
    """Whether a device takes a batch whole, its kernels captured."""
    return device.type != HOST


def is_capturing() -> bool:
    """Whether this thread is capturing: what is called meanwhile becomes part of that graph."""
    return getattr(_capturing, "now", False)


class Captured:
    """A function captured for inputs of one shape and dtype; None among the inputs stays None.

    `unchanged` are tensors that the function changes, but that its capture should leave as they are. Raises what the
    capture raises, and `RuntimeError` where the graph does not compute the result.
    """

    def __init__(
        self,
        function: Function,
        device: torch.device,
        inputs: Sequence[Tensor | None],
        generator: torch.Generator | None = None,
        unchanged: Sequence[Tensor] = (),
    ) -> None:
        self._inputs = [None if each is None else each.detach().clone() for each in inputs]
        self._generator = _copy(generator, device)
        drawing = {} if self._generator is None else {"generator": self._generator}
        before = [each.clone() for each in unchanged]
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        try:
            # Without the device and the stream of the images a capture on any but the first GPU would be empty.
            with torch.cuda.device(device), _marked():
                stream.wait_stream(torch.cuda.current_stream(device))
                with torch.cuda.stream(stream):
                    for _ in range(WARM_UP):
                        function(*self._inputs, **drawing)
                    self._graph = torch.cuda.CUDAGraph()
                    if self._generator is not None:
                        self._graph.register_generator_state(self._generator)
                    with (
                        _empty_is_an_error(),
                        torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"),
                    ):
                        self._result = function(*self._inputs, **drawing)
                torch.cuda.current_stream(device).wait_stream(stream)
                self._check()
        finally:
            torch.cuda.current_stream(device).wait_stream(stream)  # where a warm-up failed, others may still run
            for own, value in zip(unchanged, before, strict=True):
                own.copy_(value)

    def __call__(self, inputs: Sequence[Tensor | None], generator: torch.Generator | None = None) -> Tensor:
        """What the function gives for these inputs; a new tensor."""
        for own, given in zip(self._inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given, non_blocking=True)
        if self._generator is not None and generator is not None:
            self._generator.set_state(generator.get_state())
        self._graph.replay()
        if self._generator is not None and generator is not None:
            generator.set_state(self._generator.get_state())
        return self._result.clone()

    @torch.no_grad()
    def _check(self) -> None:
        """A replay must overwrite the result. Waits for the device, once per capture."""
        result = self._result.detach()
        poison = float("nan") if result.is_floating_point() else torch.iinfo(result.dtype).max
        result.fill_(poison)
        self._graph.replay()
        untouched = result.isnan() if result.is_floating_point() else result == poison
        if result.numel() and bool(untouched.all()):
            raise RuntimeError("the CUDA graph is empty: a replay computes nothing")


class Graphs:
    """Functions of tensors on a device. On a GPU each is captured for the first shapes that it is called with.

    `remark` receives a sentence where a function cannot be captured, and is called plainly from then on.
    """

    def __init__(self, device: torch.device, remark: Callable[[str], None]) -> None:
        self._device, self._remark = device, remark
        self._known: dict[Hashable, Captured] = {}
        self._shapes, self._failures = Counter[Hashable](), Counter[Hashable]()

    def __call__(
        self,
        name: Hashable,
        function: Function,
        *inputs: Tensor | None,
        generator: torch.Generator | None = None,
        unchanged: Sequence[Tensor] = (),
    ) -> Tensor:
        """`function(*inputs)`, which draws from `generator=generator` where one is given.

        `name` stands for the function with all that it does not get as inputs: of one name, calls may differ in the
        values of the inputs and in the state of the generator only.
        """
        if not on_gpu(self._device) or is_capturing():
            return _plainly(function, inputs, generator)
        shapes = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        key = name, shapes, generator is None
        if key not in self._known and self._failures[key] < TRIES and self._shapes[name] < MOST:
            self._capture(key, function, inputs, generator, unchanged)
        graph = self._known.get(key)
        return graph(inputs, generator) if graph else _plainly(function, inputs, generator)

    def _capture(
        self,
        key: tuple[Hashable, ...],
        function: Function,
        inputs: Sequence[Tensor | None],
        generator: torch.Generator | None,
        unchanged: Sequence[Tensor],
    ) -> None:
        try:
            self._known[key] = Captured(function, self._device, inputs, generator, unchanged)
            self._shapes[key[0]] += 1
        except torch.OutOfMemoryError:  # a graph keeps what it computes with; the plain call may still fit
            self._failures[key] = TRIES
            self._remark("the device's memory is short: some passes are not captured as CUDA graphs")
        except (RuntimeError, UserWarning) as error:
            self._failures[key] += 1
            if self._failures[key] == TRIES:
                why = next(iter(str(error).splitlines()), type(error).__name__)
                self._remark(f"passes are not captured as CUDA graphs: {why}")


def _plainly(function: Function, inputs: Sequence[Tensor | None], generator: torch.Generator | None) -> Tensor:
    return function(*inputs) if generator is None else function(*inputs, generator=generator)


def _copy(generator: torch.Generator | None, device: torch.device) -> torch.Generator | None:
    if generator is None:
        return None
    own = torch.Generator(device)
    own.set_state(generator.get_state())
    return own


@contextmanager
def _marked() -> Iterator[None]:
    """Within it, `is_capturing` is true."""
    _capturing.now = True
    try:
        yield
    finally:
        _capturing.now = False


@contextmanager
def _empty_is_an_error() -> Iterator[None]:
    """Torch only warns of a graph without any kernel; each replay would return the result of the capture."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The CUDA Graph is empty")
        yield
