"""CUDA graphs: a pass of a hundred kernels started as one, so that a small batch does not wait for the host.

A graph computes with the tensors that it was captured with. Images and labels of the moment are copied into them
before a replay; weights stay in the same tensors from one refresh, and one step, to the next.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

MOST = 4  # shapes of a batch that are captured, at most; batches of other shapes take the plain pass
WARM_UP = 3  # passes before a capture

OnBatch = Callable[[Tensor, Tensor], Tensor]


class Captured:
    """A function of (images, labels) to one tensor, captured for one shape."""

    def __init__(self, function: OnBatch, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.detach().clone(), labels.clone()
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                function(self._images, self._labels)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = function(self._images, self._labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._result.clone()


class CapturedBackward:
    """A loss and its parameter gradients, captured for one shape; the state of the model is as before the capture."""

    def __init__(self, model: nn.Module, loss: OnBatch, images: Tensor, labels: Tensor) -> None:
        before = {name: value.clone() for name, value in model.named_buffers()}
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient

        def backward(images: Tensor, labels: Tensor) -> Tensor:
            torch._foreach_zero_(self._gradients)
            value = loss(images, labels)
            value.backward()  # type: ignore[no-untyped-call]
            return value.detach()

        self._pass = Captured(backward, images, labels)
        for name, value in model.named_buffers():
            value.copy_(before[name])

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._pass(images, labels)


def captured(
    known: dict[torch.Size, OnBatch | None],
    capture: Callable[[], OnBatch],
    images: Tensor,
    remark: Callable[[str], None],
) -> OnBatch | None:
    """What was captured for the shape of `images`, or is now by `capture()`; None where it cannot be."""
    shape = images.shape
    if images.is_cuda and shape not in known and len(known) < MOST:
        try:
            known[shape] = capture()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            known[shape] = None
            remark(f"passes are not captured as CUDA graphs: {str(error).splitlines()[0]}")
    return known.get(shape)
