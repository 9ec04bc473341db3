"""The interface of a family of views."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor


class View(Protocol):
    """A distribution over linear maps A of a batch of images (N, C, H, W), one map per image."""

    def on(self, sizes: Tensor | None) -> View:
        """The same for images that were squashed to one size and have these heights and widths, int64 (N, 2), by
        themselves; None for images that are as they are.
        """

    def draw(self, images: Tensor, generator: torch.Generator) -> Any:
        """Random parameters for a batch of the shape of `images`, on its device."""

    def centre(self, images: Tensor) -> Any:
        """The parameters of the view that a test uses: nothing random."""

    def apply(self, images: Tensor, params: Any) -> Tensor:
        """A·images."""

    def adjoint(self, gradient: Tensor, params: Any) -> Tensor:
        """Aᵀ·gradient: the same as autograd's, without a recorded graph."""
