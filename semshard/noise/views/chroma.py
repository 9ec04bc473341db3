"""JPEG's chroma at half the size and back, with libjpeg's rounding, and the transposes of both."""

from __future__ import annotations

import torch
from torch import Tensor

from .constants import constant
from .edges import extend, extend_adjoint, padded, whole


def halve(chroma: Tensor) -> Tensor:
    """The average of 2 × 2 samples, of (N, 2, H, W): (N, 2, ⌈H/2⌉, W/2 up to whole blocks).

    libjpeg fills the last block of a row before it halves, and the last block of a column after.
    """
    chroma = extend(chroma, whole(chroma.shape[2], 2), whole(chroma.shape[3], 16))
    total = chroma[..., ::2, :] + chroma[..., 1::2, :]  # (N, 2, ⌈H/2⌉, W)
    total = total[..., ::2] + total[..., 1::2]
    return total.add_(_alternating(total, 1, 2)).div_(4).floor_()  # halves up and down in turn


def halve_adjoint(gradient: Tensor, height: int, width: int) -> Tensor:
    n, channels, rows, columns = gradient.shape
    each = (gradient / 4)[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2)
    return extend_adjoint(each.reshape(n, channels, 2 * rows, 2 * columns), height, width)


def double(chroma: Tensor, height: int, width: int) -> Tensor:
    """The triangle filter: each pixel is 9, 3, 3 and 1 sixteenths of the four nearest samples; (N, 2, H, W)."""
    far = _far(width)
    total = _spread(chroma[..., : (width + 1) // 2], 2, far)
    total = _spread(total, 3, far)[..., :height, :width]
    return total.add(_alternating(total, 8, 7)).div_(16).floor_()


def double_adjoint(gradient: Tensor, blocks: int) -> Tensor:
    """Back to planes that are `blocks` wide, as `halve` made them."""
    height, width = gradient.shape[2:]
    gradient = padded(gradient / 16, whole(height, 2), whole(width, 2), "constant")
    gradient = _spread_adjoint(_spread_adjoint(gradient, 3, _far(width)), 2, _far(width))
    return padded(gradient, gradient.shape[2], blocks, "constant")


def _far(width: int) -> int:
    """How many quarters the farther sample counts: none in very narrow pictures, whose samples libjpeg repeats."""
    return 1 if width > 4 else 0


def _spread(planes: Tensor, dim: int, far: int) -> Tensor:
    """Twice as many samples along `dim`, each 4 − far times the nearest and far times the next nearest."""
    shape, last = planes.shape, planes.shape[dim] - 1
    out = planes.new_empty(*shape[: dim + 1], 2, *shape[dim + 1 :])
    first, second = out.unbind(dim + 1)
    near = planes * (4 - far)
    ends = ((first, 0, 0), (second, last, last))
    torch.add(near.narrow(dim, 1, last), planes.narrow(dim, 0, last), alpha=far, out=first.narrow(dim, 1, last))
    torch.add(near.narrow(dim, 0, last), planes.narrow(dim, 1, last), alpha=far, out=second.narrow(dim, 0, last))
    for half, at, nearest in ends:
        torch.mul(planes.select(dim, nearest), 4, out=half.select(dim, at))
    return out.flatten(dim, dim + 1)


def _spread_adjoint(gradient: Tensor, dim: int, far: int) -> Tensor:
    shape = gradient.shape
    first, second = gradient.reshape(*shape[:dim], -1, 2, *shape[dim + 1 :]).unbind(dim + 1)
    last = first.shape[dim] - 1
    total = (first + second).mul_(4 - far)
    total.narrow(dim, 0, last).add_(first.narrow(dim, 1, last), alpha=far)
    total.narrow(dim, 1, last).add_(second.narrow(dim, 0, last), alpha=far)
    for half, at in ((first, 0), (second, last)):
        total.select(dim, at).add_(half.select(dim, at), alpha=far)
    return total


def _alternating(planes: Tensor, even: int, odd: int) -> Tensor:
    """`even` and `odd` in turn, as wide as the planes: what libjpeg adds before it drops bits."""
    width = planes.shape[3]
    return constant((even, odd) * (width // 2) + (even,) * (width % 2), planes)
