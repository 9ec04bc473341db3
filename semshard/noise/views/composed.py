"""Two views, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .view import View


@dataclass(frozen=True)
class Composed:
    """`second` of the result of `first`, which has `side` × `side` pixels; 0 where it has the size of its input."""

    first: View
    second: View
    side: int = 0

    def on(self, sizes: Tensor | None) -> Composed:
        second = self.second if self.side else self.second.on(sizes)
        return Composed(self.first.on(sizes), second, self.side)

    def draw(self, images: Tensor, generator: torch.Generator) -> tuple[Any, Any]:
        return self.first.draw(images, generator), self.second.draw(self._between(images), generator)

    def centre(self, images: Tensor) -> tuple[Any, Any]:
        return self.first.centre(images), self.second.centre(self._between(images))

    def apply(self, images: Tensor, params: tuple[Any, Any]) -> Tensor:
        return self.second.apply(self.first.apply(images, params[0]), params[1])

    def adjoint(self, gradient: Tensor, params: tuple[Any, Any]) -> Tensor:
        return self.first.adjoint(self.second.adjoint(gradient, params[1]), params[0])

    def _between(self, images: Tensor) -> Tensor:
        """A tensor of the shape of the result of `first`."""
        return images.new_empty((*images.shape[:2], self.side, self.side)) if self.side else images
