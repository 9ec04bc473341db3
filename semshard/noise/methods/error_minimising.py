"""SEM, REM and its variants, aligned EM: any cell of the paper's Table 7, by one loop; the settings choose the cell.

Stable error-minimising noise: Liu et al., AAAI 2024. Robust: Fu et al., ICLR 2022. The first: Huang et al., ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...engine import FoldedNetwork, Runtime
from ...settings import ProtectConfig
from ..ball import to_levels
from ..craft import NoiseCrafter, grey_images
from ..photos import PhotoNoise
from ..views import View
from .protocol import Photo


@dataclass(frozen=True)
class FromSurrogate:
    """Noise that lowers the loss of a trained network at the labels (Eq. 10; Eq. 7 for REM)."""

    runtime: Runtime
    network: FoldedNetwork  # the trained surrogate
    view: View  # of the noise step
    config: ProtectConfig

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        crafter, wanted, runtime = self.crafter(), self.target(labels), self.runtime

        def noise(part: int, here: slice) -> Tensor:
            generator = runtime.generator(self.config.seed, "craft", shard, at, part)
            given = runtime.send(images[here]), runtime.send(wanted[here])
            return self.network.graphs(("noise", crafter.config), crafted, *given, generator=generator).cpu()

        def crafted(images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
            x = images.float() / 255
            grey = grey_images(x) if self.config.grey == "keep" else None
            return to_levels(crafter(self.starting(x, generator), labels, generator, grey), self.config.rho_u)

        return self.fitted(runtime.by_parts(len(images), noise), images.shape[2:])

    def crafter(self) -> NoiseCrafter:
        """What crafts the final noise, by the weights that the network has now."""
        self.network.refresh()  # packs the weights anew: with those of the first batch a CPU is a tenth slower
        return NoiseCrafter(self.network, self.view, self.config.final(), self.runtime.draws_together)

    def starting(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What the noise is made on: the float images themselves."""
        return images

    def fitted(self, noise: Tensor, size: Sequence[int]) -> Tensor:
        """The noise on images of `size`, for which it was made."""
        return noise

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        self.network.refresh()
        noise = PhotoNoise(self.runtime, self.network, self.config.final())
        return noise(photos, self.target(labels), "craft", shard, at)

    def target(self, labels: Tensor) -> Tensor:
        """The labels that the noise leads to."""
        return labels
