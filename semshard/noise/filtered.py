"""Photographs seen through filters at their own resolution, before views of them are taken: as a collection is filtered
before somebody trains on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .views import Families

NEAR_A_CORE = {"cpu": 1 << 18}  # values that are filtered at once: the passes of JPEG stay in a core's cache


@dataclass
class Filtered:
    """Filters in front of photographs, which lie in memory as rows (n, h, 3, w); every `values` draws them anew.

    `sizes`, int64 (n, 2), are the heights and widths that the photographs have by themselves; None where they are as
    they are.
    """

    filters: Families
    sizes: Tensor | None = None
    _used: list[Any] = field(default_factory=list)  # parameters, for as many photographs as are filtered at once

    def values(self, pictures: Tensor, scale: float, out: Tensor, generator: torch.Generator) -> Tensor:
        """Write the filtered pictures, in [0, 1] less ½, to `out`, a float tensor of their shape.

        `pictures` hold numbers that are 0 in the middle between black and white; times `scale` they are at most ½ away.
        """
        at_once = self._at_once(pictures)
        sizes = [None] * len(pictures) if self.sizes is None else torch.split(self.sizes, at_once)
        self._used = []
        for rows, shown, of in zip(torch.split(pictures, at_once), torch.split(out, at_once), sizes, strict=False):
            given = _swapped(rows).mul_(scale).add_(0.5)
            self._used.append(self.filters.on(of).draw(given, generator))
            shown.transpose(1, 2).copy_(self.filters.apply(given, self._used[-1]).sub_(0.5))
        return out

    def pull_back(self, gradient: Tensor) -> None:
        """A gradient (n, h, 3, w) at `values` becomes, in its place, that at the pictures."""
        for rows, params in zip(torch.split(gradient, self._at_once(gradient)), self._used, strict=True):
            rows.transpose(1, 2).copy_(self.filters.adjoint(_swapped(rows), params).add_(0))  # −0 becomes 0

    @staticmethod
    def _at_once(pictures: Tensor) -> int:
        """How many of them."""
        return max(1, NEAR_A_CORE.get(pictures.device.type, 1 << 40) // pictures[0].numel())


def _swapped(rows: Tensor) -> Tensor:
    """A float32 copy (n, 3, h, w) of rows (n, h, 3, w)."""
    swapped = rows.transpose(1, 2)
    return torch.empty(swapped.shape, dtype=torch.float32, device=rows.device).copy_(swapped)
