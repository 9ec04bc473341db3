"""A surrogate of two networks: one that reads the noise, and one from whose classes the noise also pushes away.

The first is that of the method (Algorithm 1). The second is trained adversarially on the clean images, as that of the
method `push`. Noise that a victim does not read, because he trains against an adversary or behind a filter, can still
keep him from the pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import FoldedNetwork, Runtime
from ..settings import ProtectConfig

_LEAST = 1e-30  # of a norm: an image without a gradient keeps none


class TwoNetworks(nn.Module):
    """Two networks of one kind. It is not called: each has its own use."""

    def __init__(self, reads: nn.Module, pushes: nn.Module) -> None:
        super().__init__()
        self.reads, self.pushes = reads, pushes


@dataclass(frozen=True)
class NamedNetwork:
    """A network of a surrogate, and the settings that it is trained by."""

    name: str  # "" where it is the only one
    model: nn.Module
    config: ProtectConfig


def networks_of(model: nn.Module, config: ProtectConfig) -> list[NamedNetwork]:
    """The networks of a surrogate, in the order in which they are trained."""
    if not isinstance(model, TwoNetworks):
        return [NamedNetwork("", model, config)]
    reads = replace(config, push_steps=0)
    return [NamedNetwork("pushes", model.pushes, push_config(config)), NamedNetwork("reads", model.reads, reads)]


def push_config(config: ProtectConfig) -> ProtectConfig:
    """The settings of the network that pushes: clean images, an adversary of half of the budget."""
    radius = config.rho_u / 2
    return replace(
        config, method="push", noise_step="random", model_step="pgd", noise_views=("same",), final_views=("same",),
        push_steps=0, steps=config.push_steps, lr_every=max(1, config.push_steps // 2), label_noise=0.0, warm_up=0.0,
        pool=0, rho_a=radius, rho_r=radius, alpha_a=radius / 5, steps_a=5, views=(config.geometry,),
    )  # fmt: skip


class MixedNetwork(FoldedNetwork):
    """Two trained networks whose gradients are added, each divided by its L1 norm: descent makes the first one surer of
    the labels, and the second one less sure.
    """

    def __init__(self, runtime: Runtime, model: TwoNetworks, classes: int) -> None:
        self._reads, self._pushes = runtime.folded(model.reads), runtime.folded(model.pushes)
        self._classes = classes
        self.graphs = self._reads.graphs

    def refresh(self) -> None:
        self._reads.refresh()
        self._pushes.refresh()

    def gradient(self, images: Tensor, labels: Tensor, centred: bool = False) -> Tensor:
        """At float images (N, 3, H, W) and int64 labels (N,), in the images' dtype; every image's gradient has at most
        the L1 norm 2.
        """
        away = -F.one_hot(labels, self._classes).float()
        reads, pushes = (
            network.gradient(images, wanted, centred)
            for network, wanted in ((self._reads, labels), (self._pushes, away))
        )
        return _divided(reads).add_(_divided(pushes)).to(images.dtype)


def _divided(gradient: Tensor) -> Tensor:
    """Each image's gradient over its L1 norm, float32."""
    gradient = gradient.to(torch.float32)
    return gradient / gradient.abs().sum((1, 2, 3), keepdim=True).clamp_(min=_LEAST)
