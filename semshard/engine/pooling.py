"""Average pooling to a given size as products with two matrices: torch's own has no reproducible gradient on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn


def with_reproducible_pooling(model: nn.Module) -> nn.Module:
    """The model, its adaptive poolings to more than one pixel replaced in place; weights keep their names."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size not in (1, (1, 1)):
            size = module.output_size
            height, width = (size, size) if isinstance(size, int) or size is None else size
            model.set_submodule(name, PoolingByProducts(height, width))
    return model


class PoolingByProducts(nn.Module):
    """As `nn.AdaptiveAvgPool2d`; a side that is None stays as it is."""

    def __init__(self, height: int | None, width: int | None) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return averaged(images, self.height, self.width)


@fx.wrap
def averaged(images: Tensor, height: int | None, width: int | None) -> Tensor:
    """Maps (N, C, H, W) averaged to (N, C, height, width)."""
    for dim, side in ((2, height), (3, width)):
        if side is not None and side != images.shape[dim]:
            shares = _shares(images.shape[dim], side, images)
            images = shares @ images if dim == 2 else images @ shares.mT
    return images


def _shares(length: int, side: int, like: Tensor) -> Tensor:
    """How much each of `length` pixels counts in each of `side` means, (side, length)."""
    pixel = torch.arange(length, device=like.device)
    number = torch.arange(side, device=like.device)[:, None]
    first, end = number * length // side, ((number + 1) * length + side - 1) // side
    inside = (pixel >= first) & (pixel < end)
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)
