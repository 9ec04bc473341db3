"""A view of a picture that went through JPEG before, as it does where a site recompresses what is uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .jpeg import Jpeg
from .view import View


@dataclass
class Drawn:
    """A draw of the view, and what the gradient of the compression needs from when it was last applied."""

    params: Any
    saved: Any = None


@dataclass(frozen=True)
class Recompressed:
    """`view` of what `jpeg` leaves. No linear map: the adjoint is that of the slope where it was last applied."""

    view: View
    jpeg: Jpeg

    def on(self, sizes: Tensor | None) -> Recompressed:
        return Recompressed(self.view.on(sizes), self.jpeg)

    def draw(self, images: Tensor, generator: torch.Generator) -> Drawn:
        return Drawn(self.view.draw(images, generator))

    def centre(self, images: Tensor) -> Drawn:
        return Drawn(self.view.centre(images))

    def apply(self, images: Tensor, params: Drawn) -> Tensor:
        decoded, params.saved = self.jpeg.apply(images)
        return self.view.apply(decoded, params.params)

    def adjoint(self, gradient: Tensor, params: Drawn) -> Tensor:
        return self.jpeg.adjoint(self.view.adjoint(gradient, params.params), params.saved)
