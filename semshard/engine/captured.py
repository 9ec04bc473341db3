"""CUDA graphs: a pass of a hundred kernels started as one, so that a small batch does not wait for the host.

A graph computes with the tensors that it was captured with. Images and labels of the moment are copied into them
before a replay; the weights stay in the same tensors from one freeze to the next.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MOST = 4  # shapes of a batch that are captured; rarer ones are computed as they come
WARM_UP = 3

Gradient = Callable[[Tensor, Tensor], Tensor]


class Captured:
    """One input gradient, (images, labels) → gradient, captured for one shape."""

    def __init__(self, gradient: Gradient, images: Tensor, labels: Tensor) -> None:
        self._images, self._labels = images.detach().clone(), labels.clone()
        stream = torch.cuda.Stream(images.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(images.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                gradient(self._images, self._labels)
        torch.cuda.current_stream(images.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._gradient = gradient(self._images, self._labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._graph.replay()
        return self._gradient.clone()
