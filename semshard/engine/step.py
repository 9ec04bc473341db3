"""The parameter step of surrogates and victims: SGD on the mean cross-entropy, in training mode."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import ProtectConfig, VerifyConfig
from ..errors import RunError
from .captured import CapturedBackward, OnBatch, captured
from .runtime import Runtime
from .schedule import learning_rate

_CAPTURED: WeakKeyDictionary[nn.Module, dict[torch.Size, OnBatch | None]] = WeakKeyDictionary()


def sgd(model: nn.Module, config: ProtectConfig | VerifyConfig) -> torch.optim.SGD:
    """The optimiser, in one kernel for all parameters."""
    momentum, weight_decay = config.momentum, config.weight_decay
    return torch.optim.SGD(model.parameters(), config.lr, momentum, weight_decay=weight_decay, fused=True)


def set_learning_rate(optimiser: torch.optim.Optimizer, config: ProtectConfig | VerifyConfig, step: int) -> None:
    """Give the optimiser the rate of `step`."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(config.lr, config.lr_every, step)


def parameter_step(
    runtime: Runtime, model: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Tensor:
    """One step on float images (N, 3, H, W) in [0, 1] and int64 labels (N,); the loss before it, on the device.

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
