"""A network that is being trained: its optimiser, its parameter step, and its folded form between two steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import RunError
from ..settings import ProtectConfig, VerifyConfig
from . import checkpoint
from .captured import Graphs, on_gpu
from .checkpoint import Checkpoint
from .folded import FoldedNetwork
from .parted import Loss, PartedBackward
from .runtime import Runtime
from .schedule import learning_rate


def sgd(model: nn.Module, config: ProtectConfig | VerifyConfig, lr: float | None = None) -> torch.optim.SGD:
    """The optimiser of all parameters to be trained, in one kernel; starts at `lr`, or at the config's rate."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start, decay = config.lr if lr is None else lr, config.weight_decay
    return torch.optim.SGD(
        [{"params": trained, "start": start}], start, config.momentum, weight_decay=decay, nesterov=config.nesterov,
        fused=True,
    )  # fmt: skip


class TrainableNetwork:
    """A model with its optimiser on a device. It owns its captured steps and its folded form.

    It learns by the mean cross-entropy, or by a `loss` of all outputs of a batch, float (N, D), and its labels.
    """

    def __init__(
        self, runtime: Runtime, model: nn.Module, optimiser: torch.optim.Optimizer, loss: Loss | None = None
    ) -> None:
        self.runtime, self.model, self.optimiser, self.loss = runtime, model, optimiser, loss
        self.extra_state: dict[str, Tensor] = {}  # what steps change in place, too: in every checkpoint
        self._folded: FoldedNetwork | None = None
        self._stale = False  # whether the weights have changed since they were folded
        self._graphs = Graphs(runtime.device, runtime.remark)
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []  # on a GPU: the same tensors at every step
        self._parted: dict[int, PartedBackward] = {}  # by the size of the batch

    @property
    def folded(self) -> FoldedNetwork:
        """The model in evaluation mode with the weights of now: the same object every time, refreshed after a step."""
        if self._folded is None:
            self._folded = self.runtime.folded(self.model)
        elif self._stale:
            self._folded.refresh()
        self._stale = False
        return self._folded

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """One SGD step on the loss of float images (N, 3, H, W) in [0, 1]; the loss before it, detached, on the device.
        Labels are int64 (N,), or of the cross-entropy shares of the classes, float (N, classes).

        Raises `RunError` where the memory does not hold it: batch norm sees the whole batch, so it cannot go in halves.
        """
        try:
            loss = self._backward(images, labels)
        except torch.OutOfMemoryError:
            raise RunError(f"the device's memory does not hold a step of {len(images)} images; lower --batch") from None
        self.optimiser.step()
        self._stale = True
        return loss.detach()

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss; its gradients are in the parameters."""
        if not on_gpu(self.runtime.device):
            count = len(images)
            if count not in self._parted:
                self._parted[count] = PartedBackward(self.model, self.runtime.precision, count, self.loss)
            return self._parted[count](images, labels)
        if not self._gradients:
            trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
            self._gradients = [(parameter, torch.zeros_like(parameter)) for parameter in trained]
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._graphs("step", self._whole_backward, images, labels, unchanged=list(self.model.buffers()))

    def _whole_backward(self, images: Tensor, labels: Tensor) -> Tensor:
        torch._foreach_zero_([gradient for _, gradient in self._gradients])
        loss = self._loss(images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        return (self.loss or F.cross_entropy)(self.runtime.logits(self.model, images), labels)

    def set_learning_rate(self, config: ProtectConfig | VerifyConfig, step: int) -> None:
        """Give the optimiser the rate of `step`."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config, group["start"], step)

    def snapshot(self, step: int) -> Checkpoint:
        """A copy of all that a training goes on with after `step` steps."""
        return checkpoint.snapshot(self.model, self.optimiser, step, self.extra_state)

    def restore(self, begin: Checkpoint) -> None:
        """Go back to where `begin` was taken."""
        checkpoint.restore(self.model, self.optimiser, begin, self.extra_state)
        self._stale = True

    def round_state(self, config: ProtectConfig | VerifyConfig, done: int) -> None:
        """Round weights and momentum where the settings ask for it after `done` steps."""
        checkpoint.round_state(self.model, self.optimiser, config, done)
        self._stale = True
