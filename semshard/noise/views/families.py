"""Families drawn with probabilities, one after the other: pictures as image tools and sites change them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from .low_pass import LowPass


class Family(Protocol):
    """A distribution over maps of pictures (N, 3, H, W) in [0, 1] to such pictures of the same shape."""

    def draw(self, images: Tensor, generator: torch.Generator) -> Any:
        """Random parameters for every picture, on their device."""

    def apply(self, images: Tensor, params: Any) -> tuple[Tensor, Any]:
        """The mapped pictures, and what `adjoint` needs to know of the forward pass."""

    def adjoint(self, gradient: Tensor, params: Any, saved: Any) -> Tensor:
        """The gradient at the pictures, of a gradient at the mapped ones: the transpose of a linear map, otherwise of
        the slope where it was applied.
        """


@dataclass
class Chosen:
    """The pictures that a family maps, its parameters for them, and what its gradient needs of the last `apply`."""

    places: Tensor | None  # int64 (k,); None where it is all of them, in order
    used: Tensor | None  # bool (k, 1, 1, 1), whether they are mapped after all
    params: Any
    saved: Any = None

    def of(self, images: Tensor) -> Tensor:
        return images if self.places is None else images[self.places]

    def put(self, images: Tensor, given: Tensor, mapped: Tensor) -> Tensor:
        """`images`, those `given` by `of` replaced by `mapped`."""
        if self.places is None or self.used is None:
            return mapped
        chosen = torch.lerp(
            given, mapped, self.used.to(given.dtype)
        )  # exact at 0 and 1; faster than `where` on Booleans
        return images.clone().index_copy_(0, self.places, chosen)


@dataclass(frozen=True)
class Families:
    """A view: families in the order they are applied in, each to every picture with its own probability.

    Of N pictures a family of probability p maps ⌊pN⌋ or ⌈pN⌉, whichever they are: shapes depend on nothing random, and
    half of a batch is seen either way. `sizes`, int64 (N, 2), are the heights and widths that squashed pictures have by
    themselves; None where they are as they are.
    """

    members: tuple[tuple[Family, float], ...]
    sizes: Tensor | None = field(default=None, compare=False)

    def on(self, sizes: Tensor | None) -> Families:
        return replace(self, sizes=sizes)

    def draw(self, images: Tensor, generator: torch.Generator) -> list[tuple[Family, Chosen]]:
        return [(family, self._choose(family, share, images, generator)) for family, share in self.members]

    def centre(self, images: Tensor) -> list[tuple[Family, Chosen]]:
        return []

    def apply(self, images: Tensor, params: list[tuple[Family, Chosen]]) -> Tensor:
        for family, chosen in params:
            given = chosen.of(images)
            mapped, chosen.saved = family.apply(given, chosen.params)
            images = chosen.put(images, given, mapped)
        return images

    def adjoint(self, gradient: Tensor, params: list[tuple[Family, Chosen]]) -> Tensor:
        for family, chosen in reversed(params):
            given = chosen.of(gradient)
            back = family.adjoint(given, chosen.params, chosen.saved)
            gradient = chosen.put(gradient, given, back)
        return gradient

    def _choose(self, family: Family, share: float, images: Tensor, generator: torch.Generator) -> Chosen:
        if share == 1:
            return Chosen(None, None, self._at_size(family, None, images).draw(images, generator))
        chosen = share * len(images)
        most = -int(-chosen // 1)
        order = torch.randperm(len(images), generator=generator, device=images.device)[:most]
        start = torch.rand(1, generator=generator, device=images.device)
        used = torch.arange(most, device=images.device) + start < chosen
        params = self._at_size(family, order, images).draw(images[:most], generator)
        return Chosen(order, used[:, None, None, None], params)

    def _at_size(self, family: Family, places: Tensor | None, images: Tensor) -> Family:
        """A family as it is for the pictures at `places`, None for all, at the sizes that they have by themselves."""
        if self.sizes is None or not isinstance(family, LowPass):
            return family
        sizes = self.sizes.repeat(len(images) // max(1, len(self.sizes)), 1)  # of several draws of each
        return family.on(sizes if places is None else sizes[places])
