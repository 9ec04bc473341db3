"""The device, the precision inside the networks, and the random streams of a run.

Every random draw comes from a `torch.Generator` seeded by (seed, what, where), never from global state: step 812 of
a training draws the same numbers whether the run got there without a stop or was killed and resumed at step 800.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingError
from ..memory import free_memory
from . import cudnn, fused
from .captured import on_gpu
from .folded import FoldedNetwork, run
from .parts import in_parts, one_thread
from .pooling import with_reproducible_pooling
from .ranks import ALONE, Ranks

ALL_DRAWS = 1000  # more than any setting asks for
# Without it products of matrices are not reproducible on a GPU. Torch and cuBLAS read it when CUDA starts.
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def _ignore(sentence: str) -> None:
    """The default: remarks are not shown."""


@dataclass(frozen=True)
class Runtime:
    """A device and a precision. Here images meet networks."""

    device: torch.device
    precision: str  # float32 | bfloat16
    remark: Callable[[str], None] = _ignore  # receives, in sentences, what was chosen and what had to be changed
    draws_together: int = ALL_DRAWS  # of the J draws of a noise step, how many go through a network at once, at most
    ranks: Ranks = ALONE  # the processes that train a surrogate together

    @property
    def dtype(self) -> torch.dtype:
        """Of products that go with the networks: they round what they see to as many bits."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Class scores, float (N, classes), of float images (N, 3, H, W) in [0, 1]; differentiable."""
        return run(model, images, self.precision)

    def folded(self, model: nn.Module) -> FoldedNetwork:
        """The model in evaluation mode, for scores and input gradients, with the weights that it has now."""
        return FoldedNetwork(model, self.precision, self.remark)

    def staged(self, tensor: Tensor) -> Tensor:
        """The tensor where a copy to the device does not make the host wait: in pinned memory, or on the device."""
        return tensor.pin_memory() if self.device.type == "cuda" and tensor.device.type == "cpu" else tensor

    def send(self, tensor: Tensor) -> Tensor:
        """The tensor on the device. The host does not wait for a GPU."""
        return self.staged(tensor).to(self.device, non_blocking=True)

    @property
    def report_seconds(self) -> float:
        """The time between two reports of a loss: to read it, the host has to wait for a GPU."""
        return 1.0 if on_gpu(self.device) else 0.1

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory layout that convolutions are fastest in; on a GPU with poolings that
        are reproducible.
        """
        return self._moved(with_reproducible_pooling(model) if on_gpu(self.device) else model)

    def _moved(self, model: nn.Module) -> nn.Module:
        return model.to(self.device).to(memory_format=torch.channels_last)

    def fits(self, size: int) -> bool:
        """Whether `size` bytes are at most a quarter of the device's memory that is free now."""
        return self.device.type != "cuda" or size <= torch.cuda.mem_get_info(self.device)[0] // 4

    def memory(self) -> int:
        """Bytes that are free on the device now, on a CPU those of the machine."""
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0])
        return free_memory()

    def by_parts(self, count: int, function: Callable[[int, slice], Tensor], among: Ranks = ALONE) -> Tensor:
        """`function(number of the part, its images)` of every part of a batch of `count` images, joined in order.

        On a CPU threads share the parts, and whatever is drawn for a part has to come from a stream of its own. `among`
        several ranks each computes some of the parts, and all get the whole.
        """
        here = among.parts(count, self.device)
        pieces = list(enumerate(here))
        mine = among.share(pieces) or pieces[:1]
        if on_gpu(self.device):
            results = [function(*piece) for piece in mine]
        else:
            results = in_parts(lambda piece: function(*piece), mine)
        return among.gather(results[0] if len(results) == 1 else torch.cat(results), here)

    def generator(self, seed: int, *path: str | int) -> torch.Generator:
        """A fresh random stream on the device, decided by `seed` and `path` alone."""
        digest = hashlib.sha256("/".join(map(str, (seed, *path))).encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:7], "big"))


def choose_precision(device: torch.device) -> tuple[str, str]:
    """The precision to use on `device`, and the reason in words."""
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device)[0] >= 8:
            return "bfloat16", f"because {torch.cuda.get_device_name(device)} has bfloat16 matrix units"
        return "float32", f"because {torch.cuda.get_device_name(device)} has no bfloat16 matrix units"
    if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "bfloat16", "because this CPU has AVX-512 BF16 instructions"
    return "float32", "because this CPU has no AVX-512 BF16 instructions"


def choose_preset(preset: str, runtime: Runtime) -> str:
    """The preset asked for; for `auto` the one that suits the device, with a remark which one and why."""
    if preset != "auto":
        return preset
    if runtime.device.type == "cuda":
        preset, reason = "paper", "a GPU is there"
    else:
        preset, reason = "quick", "no GPU is there, and the paper's network needs one"
    runtime.remark(f"preset: {preset} ({reason})")
    return preset


def make_runtime(device: str = "auto", precision: str = "auto", remark: Callable[[str], None] = _ignore) -> Runtime:
    """A runtime on the device and in the precision asked for, or in suitable ones, with a remark which and why.

    Raises `SettingError` where the device does not exist.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        os.environ.setdefault(*CUBLAS_WORKSPACE)
    try:
        where = torch.device(device)
        where = torch.empty(1, device=where).device  # with its number
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    reason = "as asked"
    if precision == "auto":
        precision, reason = choose_precision(where)
    remark(f"device: {where}, dtype: {precision} {reason}")
    if precision == "bfloat16" and (fault := cudnn.reason(where) if on_gpu(where) else fused.reason()):
        remark(fault)
    return Runtime(where, precision, remark)


@contextmanager
def deterministic() -> Iterator[None]:
    """Within it, the same bits come out every time: on a GPU every operation has to be a reproducible one, and float32
    means float32; every operation on a CPU runs in one thread, so that no sum depends on the number of threads.

    What has no reproducible form on a GPU raises a `RuntimeError` of torch.
    """
    with one_thread(), _reproducible_gpu() if _cuda_runs() else nullcontext():
        yield


@contextmanager
def _reproducible_gpu() -> Iterator[None]:
    os.environ.setdefault(*CUBLAS_WORKSPACE)
    changed: list[tuple[Any, str, Any]] = [
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),
        (getattr(torch.backends.cudnn, "conv"), "fp32_precision", "ieee"),  # TF32 keeps 10 of 23 bits  # noqa: B009
        (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
        # It would take a kernel for every empty tensor, and none is read before it is written.
        (torch.utils.deterministic, "fill_uninitialized_memory", False),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in changed]
    strict = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        for where, name, value in changed:
            setattr(where, name, value)
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)
        torch.use_deterministic_algorithms(strict, warn_only=only_warns)


def _cuda_runs() -> bool:
    """Whether this process uses CUDA; asking does not start it."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
