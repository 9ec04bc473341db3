"""Flip with probability ½, then a random crop of the image padded with black: the augmentation of CIFAR training.

Both together move pixels and drop some, so the whole map is one gather along the flattened image, and its adjoint is
the gather along the inverse index.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shift:
    """Per image: where each output pixel comes from, where each input pixel goes; −1 where nowhere."""

    source: Tensor  # int64 (N, H·W)
    target: Tensor  # int64 (N, H·W)


@dataclass(frozen=True)
class CropFlip:
    """Crops of the size of the image from the image with `pad` black pixels on every side."""

    pad: int

    def on(self, sizes: Tensor | None) -> CropFlip:
        return self

    def draw(self, images: Tensor, generator: torch.Generator) -> Shift:
        n, _, height, width = images.shape
        draw = torch.randint(0, 2 * self.pad + 1, (n, 2), generator=generator, device=images.device) - self.pad
        flip = torch.rand(n, generator=generator, device=images.device) < 0.5
        return shift(draw[:, 0], draw[:, 1], flip, height, width)

    def centre(self, images: Tensor) -> Shift:
        n, _, height, width = images.shape
        zero = torch.zeros(n, dtype=torch.int64, device=images.device)
        return shift(zero, zero, zero.bool(), height, width)

    def apply(self, images: Tensor, params: Shift) -> Tensor:
        return _gather(images, params.source)

    def adjoint(self, gradient: Tensor, params: Shift) -> Tensor:
        return _gather(gradient, params.target)


def shift(dy: Tensor, dx: Tensor, flip: Tensor, height: int, width: int) -> Shift:
    """The map out[i, j] = flipped[i + dy, j + dx], black outside; int64 (N,), int64 (N,), bool (N,)."""
    row = torch.arange(height, device=dy.device)
    column = torch.arange(width, device=dy.device)
    turned = torch.where(flip[:, None], width - 1 - column, column)  # (N, W): its own inverse
    out_column = column + dx[:, None]
    source_column = torch.where(flip[:, None], width - 1 - out_column, out_column)
    return Shift(
        _index(row + dy[:, None], source_column, height, width),
        _index(row - dy[:, None], turned - dx[:, None], height, width),
    )


def _index(row: Tensor, column: Tensor, height: int, width: int) -> Tensor:
    row, column = row[:, :, None], column[:, None, :]  # (N, H, 1), (N, 1, W)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(inside, row * width + column, -1).flatten(1)


def _gather(images: Tensor, index: Tensor) -> Tensor:
    flat = images.flatten(2)  # (N, C, H·W)
    picked = flat.gather(2, index.clamp(min=0)[:, None].expand_as(flat))
    return (picked * (index >= 0)[:, None]).view(images.shape)
