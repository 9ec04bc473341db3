"""Training a victim, adversarially or not, and testing it on clean images (Eq. 2; REFERENCE settings of the paper)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime, batch_numbers, deterministic, parameter_step, set_learning_rate, sgd
from ..engine.checkpoint import Checkpoint, restore, round_state, snapshot
from ..models import Weights, build, build_from, head
from ..noise import InnerPerturbation, adversary
from ..noise.views import View, make_view
from ..settings import VerifyConfig
from .attacker import Attacker
from .countermeasures import BY_NAME, Countermeasure
from .stopping import Stop, ValidationPoint, stops

TRAIN_SAMPLE = 2000  # training images that the training accuracy is taken on
TEST_BATCH = 500


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 (N, 3, H, W) with int64 labels (N,), and the sizes (N, 2) that squashed ones have by themselves."""

    images: Tensor
    labels: Tensor
    sizes: Tensor | None = None

    def __getitem__(self, chosen: Tensor | slice) -> LabelledImages:
        sizes = None if self.sizes is None else self.sizes[chosen]
        return LabelledImages(self.images[chosen], self.labels[chosen], sizes)

    def to(self, device: torch.device) -> LabelledImages:
        sizes = None if self.sizes is None else self.sizes.to(device)
        return LabelledImages(self.images.to(device), self.labels.to(device), sizes)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of pixels, labels and sizes, in hex."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, *(() if self.sizes is None else (self.sizes,))):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class VictimData:
    """What a victim trains on and is tested on. `validation` is what early stopping holds back, as it was published
    and as it was before: two forms of the same images.
    """

    train: LabelledImages
    test: LabelledImages
    validation: tuple[LabelledImages, LabelledImages] | None = None

    @property
    def digest(self) -> str:
        parts = (self.train, self.test, *(self.validation or ()))
        return hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()


@dataclass(frozen=True)
class Point:
    """A victim after `step` steps; accuracies in [0, 1], on unperturbed images without augmentation."""

    step: int
    test: float
    train: float


@dataclass(frozen=True)
class TrainingState:
    """Where a victim's training stands, and what was seen on the way."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    curve: tuple[Point, ...] = ()
    looks: tuple[ValidationPoint, ...] = ()


@dataclass(frozen=True)
class Victim:
    """A trained victim and the way it went."""

    model: nn.Module
    curve: list[Point]
    right: Tensor  # bool (test images,): which of them it names rightly after the last step
    stops: list[Stop] = field(default_factory=list)

    @property
    def final(self) -> float:
        """Test accuracy after the last step; of early stopping, the best that one of its rules would have kept."""
        return max((stop.test for stop in self.stops), default=self.curve[-1].test)

    @property
    def best(self) -> float:
        """Highest test accuracy on the way; of early stopping, what its best rule would have kept."""
        return self.final if self.stops else max(point.test for point in self.curve)

    @property
    def train(self) -> float:
        """Accuracy on the images it was trained on, after the last step."""
        return self.curve[-1].train


def train_victim(
    runtime: Runtime,
    material: VictimData,
    classes: int,
    config: VerifyConfig,
    attacker: Attacker,
    seed: int,
    weights: Weights | None = None,
    advance: Callable[[int, Tensor, Point | None, Callable[[], TrainingState]], None] = lambda *where: None,
    begin: TrainingState | None = None,
) -> Victim:
    """Train a fresh victim as `attacker` does, following its accuracy on the test images.

    Draws, batches and initial weights depend on `seed` alone, so that victims differ in their data only. The pictures
    have been through the attacker's filter already. `advance(steps done, loss, point or None, standing)` follows every
    step; `standing()` is what to `begin` from to come to the same victim, bit for bit on the same machine.
    Raises `SettingError` where `weights` do not fit the network.
    """
    train = material.train
    view, seen_size = make_view(config, (train.images.shape[2], train.images.shape[3]))
    model = runtime.place(_start(attacker, classes, seen_size, seed, weights))
    optimiser = sgd(model, config, config.lr if attacker.start == "scratch" else config.tune_lr)
    step_of = _Step(runtime, model, optimiser, view, attacker, config, classes)
    sample = train[:TRAIN_SAMPLE]
    due = {round(config.steps * k / config.evaluations) for k in range(1, config.evaluations + 1)}
    begin = begin or TrainingState()
    restore(model, optimiser, begin.checkpoint)
    curve, looks = list(begin.curve), list(begin.looks)
    right = torch.zeros(0)

    def standing(done: int) -> TrainingState:
        return TrainingState(snapshot(model, optimiser, done), tuple(curve), tuple(looks))

    with deterministic():
        for step in range(begin.checkpoint.step, config.steps):
            set_learning_rate(optimiser, config, step)
            numbers = batch_numbers(len(train.labels), config.batch, seed, step)
            batch = train[numbers.to(train.labels.device, non_blocking=True)].to(runtime.device)
            loss = step_of(batch, runtime.generator(seed, "victim", step))
            round_state(model, optimiser, config, step + 1)
            point = None
            if step + 1 in due:
                right = correct_predictions(runtime, model, material.test, view)
                share = float(right.float().mean())
                point = Point(step + 1, share, float(correct_predictions(runtime, model, sample, view).float().mean()))
                curve.append(point)
                if material.validation:
                    published, clean = (correct_predictions(runtime, model, each, view) for each in material.validation)
                    looks.append(ValidationPoint(step + 1, share, published, clean))
            advance(step + 1, loss, point, partial(standing, step + 1))
    return Victim(model, curve, right, stops(looks, config.patience, config.clean_share))


def _start(attacker: Attacker, classes: int, size: tuple[int, int], seed: int, weights: Weights | None) -> nn.Module:
    """The network before its first step, in the mode that it trains in."""
    if attacker.start == "scratch" or weights is None:
        return build(attacker.network, classes, size, seed).train()
    model = build_from(weights, attacker.network, classes, size, seed)
    if attacker.start == "full":
        return model.train()
    model.requires_grad_(False)
    head(model)[1].requires_grad_(True)
    return model.eval()  # of a probe, batch norm stays as it was given


@dataclass(frozen=True)
class _Step:
    """A training step of an attacker: view, augmentation, adversary, parameters."""

    runtime: Runtime
    model: nn.Module
    optimiser: torch.optim.Optimizer
    view: View
    attacker: Attacker
    config: VerifyConfig
    classes: int

    def __call__(self, batch: LabelledImages, generator: torch.Generator) -> Tensor:
        """The loss, detached, on the device."""
        images, labels = batch.images.float() / 255, batch.labels
        view = self.view.on(batch.sizes)
        seen = view.apply(images, view.draw(images, generator))
        if self._countermeasure.augment:
            shares = F.one_hot(labels, self.classes).float()
            seen, labels = self._countermeasure.augment(seen, shares, generator, self._losses)
        rho = self.attacker.rho_a
        within = InnerPerturbation(rho, rho * self.config.step_share, self.config.steps_a)
        delta = adversary(self.runtime, self.model, seen, labels, within, generator)
        return parameter_step(self.runtime, self.model, self.optimiser, seen + delta, labels)

    @property
    def _countermeasure(self) -> Countermeasure:
        return BY_NAME[self.attacker.countermeasure]

    @torch.no_grad()
    def _losses(self, images: Tensor, shares: Tensor) -> Tensor:
        return F.cross_entropy(self.runtime.frozen(self.model)(images), shares, reduction="none")


@torch.no_grad()
def correct_predictions(runtime: Runtime, model: nn.Module, data: LabelledImages, view: View) -> Tensor:
    """Which of `data` the model names rightly, through the view's centre: bool (N,) on the CPU."""
    right = []
    logits = runtime.frozen(model)
    for at in range(0, len(data.labels), TEST_BATCH):
        part = data[at : at + TEST_BATCH].to(runtime.device)
        images, of_them = part.images.float() / 255, view.on(part.sizes)
        right.append(logits(of_them.apply(images, of_them.centre(images))).argmax(1) == part.labels)
    return torch.cat(right).cpu()
