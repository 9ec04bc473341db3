"""The device, the precision inside the networks, and the random streams of a run.

Every random draw comes from a `torch.Generator` seeded by (seed, what, where), never from global state: step 812 of
a training draws the same numbers whether the run came there in one piece or was killed and resumed at step 800.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import SettingError
from .frozen import folded_weights, trace


@dataclass(frozen=True)
class Runtime:
    """A device and a precision. `logits` is the one place where images meet a network."""

    device: torch.device
    precision: str  # float32 | bfloat16

    def logits(self, model: nn.Module, images: Tensor) -> Tensor:
        """Class scores, float (N, classes), of float images (N, 3, H, W) in [0, 1]; differentiable."""
        return self._logits(model, images)

    def _logits(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        if images.dtype == torch.float64:  # held against the reference: every digit counts
            return network(images)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return network(images).float()

    def frozen(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """`logits` of the model as it is now, in evaluation mode: differentiable in the images, in nothing else."""
        graph, pairs = trace(model)
        dtype = (
            torch.bfloat16 if self.precision == "bfloat16" and next(model.parameters()).dtype is torch.float32 else None
        )
        weights = folded_weights(model, pairs, dtype)
        return lambda images: self._logits(lambda x: functional_call(graph, weights, (x,)), images)

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, in the memory layout that convolutions are fastest in."""
        return model.to(self.device).to(memory_format=torch.channels_last)

    def generator(self, seed: int, *path: str | int) -> torch.Generator:
        """A fresh random stream on the device, decided by `seed` and `path` alone."""
        digest = hashlib.sha256("/".join(map(str, (seed, *path))).encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:7], "big"))


def choose_precision(device: torch.device) -> tuple[str, str]:
    """The precision to use on `device`, and the reason in words."""
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device)[0] >= 8:
            return "bfloat16", f"{torch.cuda.get_device_name(device)} has bfloat16 matrix units"
        return "float32", f"{torch.cuda.get_device_name(device)} has no bfloat16 matrix units"
    if getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return "bfloat16", "this CPU has AVX-512 BF16 instructions"
    return "float32", "this CPU has no AVX-512 BF16 instructions"


def choose_preset(device: torch.device) -> tuple[str, str]:
    """What `auto` stands for on `device`, and the reason in words."""
    if device.type == "cuda":
        return "paper", "a GPU is there"
    return "quick", "no GPU is there, and the paper's network needs one"


def make_runtime(device: str = "auto", precision: str = "auto") -> tuple[Runtime, str]:
    """A runtime and a sentence that says what was chosen and why.

    Raises `SettingError` where the device does not exist.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    reason = "as asked"
    if precision == "auto":
        precision, reason = choose_precision(where)
    return Runtime(where, precision), f"device: {where}, precision: {precision} ({reason})"


@contextmanager
def deterministic() -> Iterator[None]:
    """Within it, cuDNN picks algorithms that give the same bits every time."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
