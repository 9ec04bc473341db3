"""Training the surrogate, the noise generator (Algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..engine import Runtime, batch_numbers, deterministic, set_learning_rate, sgd
from ..engine.checkpoint import Checkpoint, restore, round_state, snapshot
from ..models import build
from ..settings import ProtectConfig, Size
from ..threads import ahead
from .adversary import inner, model_step
from .ball import to_levels
from .craft import add, craft, grey_images
from .views import View, make_view, noise_view


class Batches(Protocol):
    """Training images by number: uint8 (n, 3, H, W), int64 labels (n,), and the heights and widths (n, 2) of images
    that were squashed to one size; None for those that were not.
    """

    def __len__(self) -> int: ...

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]: ...


def new_surrogate(config: ProtectConfig, classes: int, size: Size, runtime: Runtime) -> nn.Module:
    """An untrained surrogate for images of `size`, on the device."""
    _, seen = make_view(config, size)
    return runtime.place(build(config.network, classes, seen, config.seed))


def train_surrogate(
    runtime: Runtime,
    model: nn.Module,
    data: Batches,
    view: View,
    config: ProtectConfig,
    *,
    begin: Checkpoint | None = None,
    until: int | None = None,
    after_step: Callable[[int, Tensor, Callable[[], Checkpoint]], None] = lambda step, loss, snapshot: None,
) -> nn.Module:
    """Train `model` in place for `config.steps` steps (or `until` that many are done) and return it.

    `after_step(steps done, loss, snapshot)` is called after every step, the loss still on the device; `snapshot()`
    gives a checkpoint to begin from, which leads to the same weights as an uninterrupted training, bit for bit on the
    same machine.
    """
    optimiser = sgd(model, config)
    begin = begin or Checkpoint()
    restore(model, optimiser, begin)
    model.train()
    with deterministic():
        steps = range(begin.step, until or config.steps)
        batches = (data.batch(batch_numbers(len(data), config.batch, config.seed, step)) for step in steps)
        for step, (images, labels, sizes) in zip(steps, ahead(batches), strict=True):
            set_learning_rate(optimiser, config, step)
            loss = surrogate_step(runtime, model, optimiser, images, labels, view.on(sizes), config, step)
            round_state(model, optimiser, config, step + 1)
            after_step(step + 1, loss, partial(snapshot, model, optimiser, step + 1))
    return model


def surrogate_step(
    runtime: Runtime,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    view: View,
    config: ProtectConfig,
    step: int,
) -> Tensor:
    """One pass of Algorithm 1's loop over a uint8 minibatch; returns the loss of the model step."""
    generator, config = runtime.generator(config.seed, "surrogate", step), config.at_warmup_step(step)
    images, labels = images.to(runtime.device), labels.to(runtime.device)
    if config.method != "tap":  # whose network learns from clean images
        labels = shuffle_labels(labels, config.label_noise, generator)
        x = images.float() / 255
        grey = grey_images(x) if config.grey == "keep" else None
        delta_u = craft(runtime, model, x, labels, noise_view(view, config), config, generator, grey)  # lines 2–9
        images = add(images, to_levels(delta_u, config.rho_u))
    within = inner(config.model_step, config)
    return model_step(runtime, model, optimiser, images.float() / 255, labels, view, within, generator)  # lines 10–12


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
