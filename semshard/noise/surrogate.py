"""Training the surrogate, the network that the noise is crafted with (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..engine import (
    Autosave,
    Checkpoint,
    FoldedNetwork,
    Runtime,
    TrainableNetwork,
    TrainingLoop,
    batch_numbers,
    permutation,
    sgd,
)
from ..models import build
from ..settings import ProtectConfig, Size, levels
from ..threads import ahead
from . import squashed
from .adversary import ModelStep, inner_perturbation
from .ball import to_levels
from .craft import NoiseCrafter, add, grey_images
from .squashed import SquashedImages
from .two_networks import TwoNetworks
from .views import View, Whole, after_crop, make_view, noise_view
from .views.resized_crop import ResizedCrop

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
    first = build(config.network, classes, seen, config.seed)
    if not config.push_steps:
        return runtime.place(first)
    return runtime.place(TwoNetworks(first, build(config.network, classes, seen, config.seed + 1)))


@dataclass(frozen=True)
class SurrogateTraining:
    """The loop of Algorithm 1 for one network, its views and its settings.

    `persistent` is the noise of the training images between two visits, int8 (N, 3, H, W) grey levels, which every step
    changes in place; None where every visit begins with a random perturbation, as in the paper.
    """

    network: TrainableNetwork
    view: View
    config: ProtectConfig
    persistent: Tensor | None = None

    @classmethod
    def of(
        cls, runtime: Runtime, model: nn.Module, view: View, config: ProtectConfig, persistent: Tensor | None = None
    ) -> SurrogateTraining:
        """The training of `model`, in training mode from here on."""
        network = TrainableNetwork(runtime, model.train(), sgd(model, config))
        if persistent is not None:
            network.extra_state["noise"] = persistent
        return cls(network, view, config, persistent)

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
        config, ranks = self.config, self.network.runtime.ranks

        def batches(steps: range) -> Iterator[tuple[Batch, Tensor]]:
            return ahead(batch(step) for step in steps)

        def batch(number: int) -> tuple[Batch, Tensor]:
            numbers = batch_numbers(len(data), config.batch, config.seed, number)
            images, labels, sizes = data.batch(numbers)
            staged = self.network.runtime.staged
            return (staged(images), staged(labels), None if sizes is None else staged(sizes)), staged(numbers)

        def step(number: int, batch: tuple[Batch, Tensor]) -> Tensor:
            return self.step(number, *batch[0], rows=batch[1])

        def compare(done: int, loss: Tensor) -> None:
            ranks.compare_weights(done, self.network.model, always=done == config.steps)
            after_step(done, loss)

        loop = TrainingLoop(self.network, config, batches, step, compare, autosave)
        loop.run(begin or Checkpoint(), until)
        return self.network.model

    def step(
        self, number: int, images: Tensor, labels: Tensor, sizes: Tensor | None = None, rows: Tensor | None = None
    ) -> Tensor:
        """One pass of the loop over a uint8 minibatch; returns the loss of the model step.

        Lines 2–11 treat every image by itself, and go part by part, shared out among ranks; line 12 needs the whole
        minibatch, and every rank computes it. `rows`, int64 (n,), are those of the images in `persistent`; None for the
        first ones.
        """
        runtime, config = self.network.runtime, self.config.at_warmup_step(number)
        runtime.ranks.meet(number, len(images))
        images, labels = runtime.send(images), runtime.send(labels)
        sizes = None if sizes is None else runtime.send(sizes)
        by_parts = partial(self._by_parts, config, number)
        if self.persistent is None:
            if not config.clean_surrogate:
                labels = shuffle_labels(labels, config.label_noise, runtime.generator(config.seed, "labels", number))
            return self.network.step(by_parts("surrogate", self._perturbed, images, labels, sizes), labels)
        rows = torch.arange(len(labels), device=runtime.device) if rows is None else runtime.send(rows)
        noise = by_parts("surrogate", self._crafted, images, labels, sizes, self.persistent[rows])
        self.persistent.index_copy_(0, rows, noise)
        return self.network.step(by_parts("model step", self._seen, images, labels, sizes, noise), labels)

    def _by_parts(
        self,
        config: ProtectConfig,
        number: int,
        name: str,
        function: Callable[..., Tensor],
        images: Tensor,
        *given: Tensor | None,
    ) -> Tensor:
        """`function` of the parts of a minibatch, joined; what is None of `given` stays so."""
        runtime, network = self.network.runtime, self.network.folded

        def of(part: int, here: slice) -> Tensor:
            generator = runtime.generator(config.seed, name, number, part)
            pieces = [None if each is None else each[here] for each in (images, *given)]
            with_network = partial(function, network, config)
            if config is not self.config:  # every warming-up step has other radii: not worth a capture
                return with_network(*pieces, generator=generator)
            return network.graphs((name, config), with_network, *pieces, generator=generator)

        return runtime.by_parts(len(images), of, runtime.ranks)

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
        if config.clean_surrogate:
            return self._views(network, config, images.float() / 255, self.view.on(sizes), labels, generator)
        if not config.views_first:
            noise = self._crafted(network, config, images, labels, sizes, None, generator=generator)
            return self._seen(network, config, images, labels, sizes, noise, generator=generator)
        x, view = images.float() / 255, self.view.on(sizes)
        x = view.apply(x, view.draw(x, generator))
        x = x + self._crafter(network, config, view)(x, labels, generator, _grey(images, config))
        return self._views(network, config, x, Whole(), labels, generator)

    def _crafted(
        self,
        network: FoldedNetwork,
        config: ProtectConfig,
        images: Tensor,
        labels: Tensor,
        sizes: Tensor | None,
        begin: Tensor | None,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Lines 2–9: int8 noise of uint8 images (n, 3, H, W), in grey levels, from where int8 `begin` of their shape
        is; None for a random perturbation.
        """
        grey = _grey(images, config)
        if squashed.suits(config):
            return self._squashed(config, sizes).noise(network, images, labels, begin, grey, generator)
        crafter = self._crafter(network, config, self.view.on(sizes))
        start = None if begin is None else begin.float() / 255
        noise = crafter(images.float() / 255, labels, generator, grey, start)
        return to_levels(noise, config.rho_u)

    def _squashed(self, config: ProtectConfig, sizes: Tensor | None) -> SquashedImages:
        return SquashedImages(config, ResizedCrop(config.crop, sizes), self.network.runtime)

    def _crafter(self, network: FoldedNetwork, config: ProtectConfig, view: View) -> NoiseCrafter:
        return NoiseCrafter(network, noise_view(view, config), config, self.network.runtime.draws_together)

    def _seen(
        self,
        network: FoldedNetwork,
        config: ProtectConfig,
        images: Tensor,
        labels: Tensor,
        sizes: Tensor | None,
        noise: Tensor,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Lines 10 and 11 for uint8 images and their int8 noise."""
        protected = add(images, noise)
        if squashed.suits(config):
            crops, families = self._squashed(config, sizes).views(protected, generator), after_crop(config.families)
            return self._views(network, config, crops, families if families.members else Whole(), labels, generator)
        return self._views(network, config, protected.float() / 255, self.view.on(sizes), labels, generator)

    def _views(
        self,
        network: FoldedNetwork,
        config: ProtectConfig,
        images: Tensor,
        view: View,
        labels: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """The perturbed views of float images."""
        perturbation = inner_perturbation(config.model_step, config)
        return ModelStep(self.network, view, perturbation).perturbed(network, images, labels, generator)


def _grey(images: Tensor, config: ProtectConfig) -> Tensor | None:
    """Which of uint8 images are to have noise that is the same in all channels; None for none."""
    return grey_images(images) if config.grey == "keep" else None


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


def pool_numbers(images: int, config: ProtectConfig) -> Tensor:
    """Which of so many images are in the pool of a surrogate: int64, rising."""
    return permutation(images, config.seed, "pool")[: config.pool].sort().values


def pool_labels(labels: Tensor, config: ProtectConfig) -> Tensor:
    """The labels (N,) of a pool, on the CPU, shuffled once for the whole training."""
    stream = Runtime(torch.device("cpu"), "float32").generator(config.seed, "labels")
    return shuffle_labels(labels, config.label_noise, stream)


def initial_noise(config: ProtectConfig, images: int, size: tuple[int, int], runtime: Runtime) -> Tensor | None:
    """What a pool of training images keeps before the first visit: int8 (images, 3, H, W), uniform within the budget;
    None without a pool.
    """
    if not config.pool:
        return None
    most, generator = levels(config.rho_u), runtime.generator(config.seed, "persistent noise")
    noise = torch.empty((images, 3, *size), dtype=torch.int8, device=runtime.device)
    return noise.random_(-most, most + 1, generator=generator)
