"""What a family of views is, and how one is seen through with a gradient."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor


class View(Protocol):
    """A distribution over linear maps A of a batch of images (N, C, H, W), one map per image."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Any:
        """Random parameters for a batch of the shape of `images`, on its device."""

    def centre(self, images: Tensor) -> Any:
        """The parameters of the view that a test uses: nothing random."""

    def apply(self, images: Tensor, params: Any) -> Tensor:
        """A·images."""

    def adjoint(self, gradient: Tensor, params: Any) -> Tensor:
        """Aᵀ·gradient: what autograd would give, without a recorded graph."""


class _See(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, view: View, params: Any) -> Tensor:
        ctx.view, ctx.params = view, params
        return view.apply(images, params)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.view.adjoint(gradient, ctx.params), None, None


def see(view: View, images: Tensor, params: Any) -> Tensor:
    """The images through the view; the gradient goes back through `view.adjoint`."""
    return cast(Tensor, _See.apply(images, view, params))
