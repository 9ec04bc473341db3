"""Training the surrogate, the network that the noise is crafted with (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..engine import Autosave, Checkpoint, FoldedNetwork, Runtime, TrainableNetwork, TrainingLoop, batch_numbers, sgd
from ..models import build
from ..settings import ProtectConfig, Size
from ..threads import ahead
from .adversary import ModelStep, inner_perturbation
from .ball import to_levels
from .craft import NoiseCrafter, add, grey_images
from .views import View, Whole, make_view, noise_view

Batch = tuple[Tensor, Tensor, Tensor | None]


class Batches(Protocol):
    """Training images by number: uint8 (n, 3, H, W), int64 labels (n,), and the heights and widths (n, 2) of images
    that were squashed to one size; None for those that were not.
    """

    def __len__(self) -> int: ...

    def batch(self, numbers: Tensor) -> Batch: ...


def new_surrogate(config: ProtectConfig, classes: int, size: Size, runtime: Runtime) -> nn.Module:
    """An untrained surrogate for images of `size`, on the device."""
    _, seen = make_view(config, size)
    return runtime.place(build(config.network, classes, seen, config.seed))


@dataclass(frozen=True)
class SurrogateTraining:
    """The loop of Algorithm 1 for one network, its views and its settings."""

    network: TrainableNetwork
    view: View
    config: ProtectConfig

    @classmethod
    def of(cls, runtime: Runtime, model: nn.Module, view: View, config: ProtectConfig) -> SurrogateTraining:
        """The training of `model`, in training mode from here on."""
        return cls(TrainableNetwork(runtime, model.train(), sgd(model, config)), view, config)

    def run(
        self,
        data: Batches,
        *,
        begin: Checkpoint | None = None,
        until: int | None = None,
        after_step: Callable[[int, Tensor], None] = lambda done, loss: None,
        autosave: Autosave | None = None,
    ) -> nn.Module:
        """Train the model in place for `config.steps` steps (or until that many are done) and return it.

        `after_step(steps done, loss)` is called after every step, the loss still on the device.
        """
        config = self.config

        def batches(steps: range) -> Iterator[Batch]:
            return ahead(batch(step) for step in steps)

        def batch(number: int) -> Batch:
            images, labels, sizes = data.batch(batch_numbers(len(data), config.batch, config.seed, number))
            staged = self.network.runtime.staged
            return staged(images), staged(labels), None if sizes is None else staged(sizes)

        def step(number: int, batch: Batch) -> Tensor:
            return self.step(number, *batch)

        loop = TrainingLoop(self.network, config, batches, step, after_step, autosave)
        loop.run(begin or Checkpoint(), until)
        return self.network.model

    def step(self, number: int, images: Tensor, labels: Tensor, sizes: Tensor | None = None) -> Tensor:
        """One pass of the loop over a uint8 minibatch; returns the loss of the model step.

        Lines 2–11 treat every image by itself, and go part by part; line 12 needs the whole minibatch.
        """
        runtime, config = self.network.runtime, self.config.at_warmup_step(number)
        images, labels = runtime.send(images), runtime.send(labels)
        sizes = None if sizes is None else runtime.send(sizes)
        if config.method != "tap":  # whose network learns from clean images
            labels = shuffle_labels(labels, config.label_noise, runtime.generator(config.seed, "labels", number))
        network = self.network.folded

        def perturbed(part: int, here: slice) -> Tensor:
            generator = runtime.generator(config.seed, "surrogate", number, part)
            given = images[here], labels[here], None if sizes is None else sizes[here]
            function = partial(self._perturbed, network, config)
            if config is not self.config:  # every warming-up step has other radii: not worth a capture
                return function(*given, generator=generator)
            return network.graphs(("lines 2 to 11", config), function, *given, generator=generator)

        return self.network.step(runtime.by_parts(len(labels), perturbed), labels)

    def _perturbed(
        self,
        network: FoldedNetwork,
        config: ProtectConfig,
        images: Tensor,
        labels: Tensor,
        sizes: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """The views that the model step trains on, float, of uint8 images with their defensive noise.

        Where views come first, the noise is that of a view, and not rounded before the final one: as in EM's code.
        """
        x, view = images.float() / 255, self.view.on(sizes)
        perturbation = inner_perturbation(config.model_step, config)
        if config.method != "tap":
            grey = grey_images(x) if config.grey == "keep" else None
            crafter = NoiseCrafter(network, noise_view(view, config), config, self.network.runtime.draws_together)
            if config.views_first:
                x, view = view.apply(x, view.draw(x, generator)), Whole()
                x = x + crafter(x, labels, generator, grey)
            else:
                noise = to_levels(crafter(x, labels, generator, grey), config.rho_u)  # lines 2–9
                x = add(images, noise).float() / 255
        return ModelStep(self.network, view, perturbation).perturbed(network, x, labels, generator)  # lines 10 and 11


def shuffle_labels(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels (N,) of which a random `share`, rounded down, have changed places among themselves.

    The noise is made for the label that an image has now, so it is the noise alone that tells these labels. A surrogate
    that knew the pictures would make noise that shows what the pictures of a class have in common, and teach just that.
    """
    count = int(share * len(labels))
    if count < 2:
        return labels
    chosen = torch.randperm(len(labels), generator=generator, device=labels.device)[:count]
    return labels.index_copy(0, chosen, labels[chosen.roll(1)])
