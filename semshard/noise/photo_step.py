"""A step of photographs as a function of tensors: on a GPU it is captured, for as many photographs as fit, whatever
their sizes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .photo_groups import ViewMatrices, alike_in_all_channels, resample_all, restore_all
from .scratch import Scratch
from .whole_steps import WholeSteps

AtViews = Callable[[Tensor, Tensor, torch.Generator, Scratch], Tensor]  # `ViewGradient`


def moved(
    steps: WholeSteps,
    at_views: AtViews,
    pixels: Tensor,
    low: Tensor,
    high: Tensor,
    grey: Tensor | None,
    labels: Tensor,
    rows: Tensor,
    columns: Tensor,
    rows_back: Tensor,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Where int16 pixels (n, h, 3, w) of photographs are after a signed step, at all J views of each, within `low` and
    `high`. `rows`, `columns` and `rows_back` are those of `ViewMatrices`; the others are as in `PhotoGroup`.
    """
    by, scratch = ViewMatrices(rows, columns, rows_back), Scratch(pixels.device)
    images = pixels.to(rows.dtype)
    seen = resample_all(images, by, scratch)
    restore_all(at_views(seen, labels.repeat_interleave(by.draws, 0), generator, scratch), by, scratch, images)
    after = pixels.clone()
    steps.descend(after, alike_in_all_channels(images, grey), low, high)
    return after
