"""Stand-ins for what torch has no CPU form of: CUDA graphs that are recorded and replayed, and cuDNN's operators.

A recorded graph behaves as one on a GPU does. While it is captured nothing is computed, no value can be read, and only
registered generators may draw; a replay runs the same operators on the same tensors.
"""

import warnings
from collections import Counter
from contextlib import contextmanager
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semshard.engine import captured

aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default, aten.masked_select.default}
EMPTY = "The CUDA Graph is empty. This usually means that the graph was attempted to be captured on wrong device"


def tensors(values):
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def draws(func):
    """Whether an operator takes random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


def is_one(generator, other):
    """Whether both are the same stream: torch hands operators new objects for it."""
    if generator is None:
        return False
    before = generator.get_state()
    generator.manual_seed(0x5EED)
    same = other.initial_seed() == 0x5EED
    generator.set_state(before)
    return same


class Graph:
    """In the place of `torch.cuda.CUDAGraph`."""

    made: ClassVar = Counter()  # graphs and replays so far

    def __init__(self):
        self.calls, self.generators = [], []
        Graph.made["graphs"] += 1

    def register_generator_state(self, generator):
        self.generators.append(generator)

    @torch.no_grad()
    def replay(self):
        Graph.made["replays"] += 1
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tensors(out), tensors(func(*args, **kwargs)), strict=True):
                if old is not new and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Recording(TorchDispatchMode):
    """What is called within it goes into a graph; afterwards all tensors are as if it had not been computed."""

    def __init__(self, graph):
        super().__init__()
        self.graph, self.made, self.before = graph, {}, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in READS:
            raise RuntimeError("operation not permitted when stream is capturing")
        if draws(func) and not any(is_one(kwargs.get("generator"), each) for each in self.graph.generators):
            raise RuntimeError("Attempt to increase offset for a CUDA generator not in capture mode.")
        returns = [each.alias_info for each in func._schema.returns]
        is_view = any(alias and not alias.is_write for alias in returns)
        for tensor in [] if is_view else tensors((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.made and storage.data_ptr() not in self.before:
                self.before[storage.data_ptr()] = storage, storage.clone()
        out = func(*args, **kwargs)
        if not is_view:
            self.graph.calls.append((func, args, kwargs, out))
            for tensor in tensors(out):
                if tensor.untyped_storage().data_ptr() not in self.before:
                    self.made[tensor.untyped_storage().data_ptr()] = tensor
        return out

    def undo(self):
        for storage, value in self.before.values():
            storage.copy_(value)
        for tensor in self.made.values():
            with torch.no_grad():
                tensor.untyped_storage().fill_(0xFF)  # NaN, or −1


class Stream:
    def __init__(self, device):
        self.device = device

    def wait_stream(self, other):
        assert other.device == self.device, "streams of two devices"


class Cuda:
    """The part of `torch.cuda` that a capture uses. `fault(number of the capture)` may raise, or return "empty"."""

    def __init__(self, fault=lambda number: None):
        self.fault, self.captures, self.current, self.on = fault, 0, None, None

    def install(self, monkeypatch):
        Graph.made.clear()
        monkeypatch.setattr(captured, "HOST", "none")
        for name in ("Stream", "CUDAGraph", "current_stream", "device", "stream", "graph"):
            kind = {"Stream": Stream, "CUDAGraph": Graph, "current_stream": Stream}.get(name)
            monkeypatch.setattr(torch.cuda, name, kind or getattr(self, name))
        return self

    @contextmanager
    def device(self, device):
        before, self.current = self.current, device
        yield
        self.current = before

    @contextmanager
    def stream(self, stream):
        before, self.on = self.on, stream
        yield
        self.on = before

    @contextmanager
    def graph(self, graph, stream=None, capture_error_mode="global"):
        assert capture_error_mode == "thread_local", "other threads copy to the device meanwhile"
        assert stream is not None
        assert stream.device == self.current, "the graph would be empty"
        self.captures += 1
        recording = Recording(graph)
        try:
            if self.fault(self.captures) == "empty":
                with torch.random.fork_rng():
                    yield
                warnings.warn(EMPTY, stacklevel=1)
            else:
                with recording:
                    yield
        finally:
            recording.undo()


def cudnn_relu(x, weight, bias, stride, padding, dilation, groups):
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups).relu_()


def cudnn_add_relu(x, weight, z, alpha, bias, stride, padding, dilation, groups):
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups).add_(z, alpha=alpha).relu_()


@contextmanager
def cudnn_operators(relu=cudnn_relu, add_relu=cudnn_add_relu, devices=("CPU", "Meta")):
    """Within it the two operators of cuDNN have reference implementations on a CPU."""
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for device in devices:
            library.impl("cudnn_convolution_relu", relu, device)
            library.impl("cudnn_convolution_add_relu", add_relu, device)
    try:
        yield
    finally:
        library._destroy()
