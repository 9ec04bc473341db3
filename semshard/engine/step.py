"""The parameter step of surrogates and victims: SGD on the mean cross-entropy, in training mode."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RunError
from ..settings import ProtectConfig, VerifyConfig
from .captured import CapturedBackward, OnBatch, captured
from .runtime import Runtime
from .schedule import learning_rate

_CAPTURED: WeakKeyDictionary[nn.Module, dict[torch.Size, OnBatch | None]] = WeakKeyDictionary()


def sgd(model: nn.Module, config: ProtectConfig | VerifyConfig, lr: float | None = None) -> torch.optim.SGD:
    """The optimiser of all parameters to be trained, in one kernel; starts at `lr`, or at the config's rate."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start, decay = config.lr if lr is None else lr, config.weight_decay
    return torch.optim.SGD(
        [{"params": trained, "start": start}], start, config.momentum, weight_decay=decay, fused=True
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, config: ProtectConfig | VerifyConfig, step: int) -> None:
    """Give the optimiser the rate of `step`."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(group["start"], config.lr_every, step)


def parameter_step(
    runtime: Runtime, model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Tensor:
    """One step on float images (N, 3, H, W) in [0, 1]; the loss before it, on the device.

    Labels are int64 (N,), or shares of the classes, float (N, classes).

    Raises `RunError` where the memory does not hold it: batch norm sees the whole batch, so it cannot go in halves.
    """

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(runtime.logits(model, images), labels)

    known = _CAPTURED.setdefault(model, {}) if images.is_cuda else {}
    try:
        backward = captured(known, lambda: CapturedBackward(model, loss, images, labels), images, runtime.remark)
        if backward:
            value = backward(images, labels)
        else:
            optimiser.zero_grad(set_to_none=True)
            value = loss(images, labels)
            value.backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        raise RunError(f"the device's memory does not hold a step of {len(images)} images; lower --batch") from None
    optimiser.step()
    return value.detach()
