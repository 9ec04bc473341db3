"""JPEG at a drawn quality, chroma whole or halved: what sites and attackers do to pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .jpeg import Jpeg, Saved

QUALITY = (10, 90)


@dataclass(frozen=True)
class Compressed:
    """`quality` for every image; without one uniform in `QUALITY`, for each by itself. Half of the images are coded
    with whole chroma (4:4:4), half with halved chroma (4:2:0); all with halved chroma where the quality is given.
    """

    quality: int = 0

    def draw(self, images: Tensor, generator: torch.Generator) -> list[Jpeg]:
        if self.quality:
            return [Jpeg(self.quality, "4:2:0")]
        low, high = QUALITY
        drawn = torch.randint(low, high + 1, (len(images),), generator=generator, device=images.device)
        half = len(images) // 2
        return [Jpeg(drawn[:half], "4:4:4"), Jpeg(drawn[half:], "4:2:0")] if half else [Jpeg(drawn, "4:2:0")]

    def apply(self, images: Tensor, params: list[Jpeg]) -> tuple[Tensor, list[Saved]]:
        done = [jpeg.apply(part) for jpeg, part in zip(params, _parts(images, params), strict=True)]
        return torch.cat([decoded for decoded, _ in done]), [saved for _, saved in done]

    def adjoint(self, gradient: Tensor, params: list[Jpeg], saved: list[Saved]) -> Tensor:
        parts = zip(params, _parts(gradient, params), saved, strict=True)
        return torch.cat([jpeg.adjoint(part, state) for jpeg, part, state in parts])


def _parts(images: Tensor, params: list[Jpeg]) -> tuple[Tensor, ...]:
    return images.tensor_split([len(images) // 2]) if len(params) == 2 else (images,)
