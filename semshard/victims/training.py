"""Training a victim, adversarially or not, and testing it on clean images (Eq. 2; the settings of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import (
    NEVER,
    Autosave,
    Checkpoint,
    Deadline,
    FoldedNetwork,
    Runtime,
    TrainableNetwork,
    TrainingLoop,
    batch_numbers,
    deterministic,
    sgd,
)
from ..noise import InnerPerturbation
from ..noise.views import View, make_view
from ..threads import ahead
from .countermeasures import BY_NAME
from .data import LabelledImages, VictimData
from .recipe import VictimRecipe, initial_model
from .refit import with_refitted_head
from .simclr import SimclrStep, nt_xent, projection_of, trial_fit, with_fitted_head
from .stopping import Stop, ValidationPoint, stops
from .testing import TEST_BATCH, Attacked, attacked, correct_predictions

TRAIN_SAMPLE = 2000  # training images that the training accuracy is taken on


@dataclass(frozen=True)
class Point:
    """A victim after `step` steps; accuracies in [0, 1], on unperturbed images without augmentation."""

    step: int
    test: float
    train: float


@dataclass(frozen=True)
class TrainingState:
    """The state of a victim's training, and what was measured on the way."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    curve: tuple[Point, ...] = ()
    correct: tuple[Tensor, ...] = ()  # bool (test images,) at each point of the curve
    validation_points: tuple[ValidationPoint, ...] = ()


def _ignore(done: int, loss: Tensor, point: Point | None) -> None:
    """Nobody watches the training."""


@dataclass(frozen=True)
class Supervision:
    """What accompanies a victim's training: the report of its steps, where it is saved, when it must stop."""

    label: str = "the victim"
    begin: TrainingState = field(default_factory=TrainingState)
    report: Callable[[int, Tensor, Point | None], None] = _ignore  # steps done, loss, accuracies where they were taken
    save: Callable[[TrainingState], None] | None = None
    every: float = 60.0  # seconds between two saves
    deadline: Deadline = NEVER


@dataclass(frozen=True)
class Victim:
    """A trained victim and the course of its training."""

    model: nn.Module
    curve: list[Point]
    correct_at: list[Tensor]  # bool (test images,) at each point of the curve: which of them it classifies correctly
    stops: list[Stop] = field(default_factory=list)
    attacked: Attacked | None = None  # after the last step; None without an adversary

    @property
    def final(self) -> float:
        """Test accuracy after the last step; of early stopping, the best that one of its rules would have kept."""
        return max((stop.test for stop in self.stops), default=self.curve[-1].test)

    @property
    def best(self) -> float:
        """Highest test accuracy on the way; of early stopping, what its best rule would have kept."""
        return self.final if self.stops else max(point.test for point in self.curve)

    @property
    def correct(self) -> Tensor:
        """Which test images it classifies correctly after the last step."""
        return self.correct_at[-1]

    @property
    def correct_at_best(self) -> Tensor:
        """Which test images it classified correctly when it was at its best."""
        best = max(self.stops, key=lambda stop: stop.test).step if self.stops else None
        place = max(range(len(self.curve)), key=lambda n: (self.curve[n].step == best, self.curve[n].test))
        return self.correct_at[place]

    @property
    def train(self) -> float:
        """Accuracy on the images it was trained on, after the last step."""
        return self.curve[-1].train


def train_victim(
    runtime: Runtime, data: VictimData, recipe: VictimRecipe, supervision: Supervision | None = None
) -> Victim:
    """Train a victim as its attacker does, following its accuracy on the test images.

    The pictures have been through the attacker's filter already. Raises `SettingError` where the weights of the recipe
    do not fit the network, and `TimeIsUp`, saved, where the deadline comes first.
    """
    return _VictimTraining(runtime, data, recipe, supervision or Supervision()).run()


def trial(runtime: Runtime, data: VictimData, recipe: VictimRecipe) -> dict[str, Callable[[], object]]:
    """A training step of such a victim, a test on so many images as `data` has, at most `TEST_BATCH`, and of features
    that were learned without labels a fit of the last layer: to be timed, for what they return means nothing.
    """
    training = _VictimTraining(runtime, data, recipe, Supervision())
    (batch,), tested = training._batches(range(1)), data.test[:TEST_BATCH]
    actions: dict[str, Callable[[], object]] = {
        "step": lambda: training.step(batch, 0),
        "test": lambda: correct_predictions(training.network.folded, tested, training.view, runtime),
    }
    if recipe.attacker.unlabelled:
        _, projection = projection_of(training.network.model)
        actions["fit"] = partial(trial_fit, projection.features, recipe.classes)
    return actions


class _VictimTraining:
    """A training under way: its network, its steps, and what was measured."""

    def __init__(self, runtime: Runtime, data: VictimData, recipe: VictimRecipe, supervision: Supervision) -> None:
        self.runtime, self.data, self.recipe, self.supervision = runtime, data, recipe, supervision
        config, images = recipe.config, data.train.images
        self.view, size = make_view(config, (images.shape[2], images.shape[3]))
        model = runtime.place(initial_model(recipe, size))
        lr = config.lr if recipe.attacker.start == "scratch" else config.tune_lr
        self.step: Callable[[LabelledImages, int], Tensor]
        if recipe.attacker.unlabelled:
            self.network = TrainableNetwork(runtime, model, sgd(model, config, lr), nt_xent)
            self.step = SimclrStep(self.network, self.view, recipe.seed)
        else:
            self.network = TrainableNetwork(runtime, model, sgd(model, config, lr))
            self.step = VictimStep(self.network, self.view, recipe)
        self.tested = model  # the network of the last test
        self.curve, self.validation_points = list(supervision.begin.curve), list(supervision.begin.validation_points)
        self.correct = list(supervision.begin.correct)
        self._due = {round(config.steps * k / config.evaluations) for k in range(1, config.evaluations + 1)}

    def run(self) -> Victim:
        config, save = self.recipe.config, self.supervision.save

        def save_state(checkpoint: Checkpoint) -> None:
            assert save
            measured = tuple(self.curve), tuple(self.correct), tuple(self.validation_points)
            save(TrainingState(checkpoint, *measured))

        label, every, deadline = self.supervision.label, self.supervision.every, self.supervision.deadline
        autosave = Autosave(label, save_state, every, deadline) if save else None
        loop = TrainingLoop(self.network, config, self._batches, self._train_on, self._after, autosave)
        loop.run(self.supervision.begin.checkpoint)
        rules = stops(self.validation_points, config.patience, config.clean_share)
        return Victim(self.tested, self.curve, self.correct, rules, self._attacked(self.tested))

    def _fitted(self) -> nn.Module:
        """The network of now as it is tested: with a last layer fitted where its attacker does so. The training goes on
        without that layer.
        """
        runtime, model, recipe = self.runtime, self.network.model, self.recipe
        if recipe.attacker.unlabelled:
            return with_fitted_head(runtime, model, self.view, self.data.train, recipe.classes, recipe.seed)
        return with_refitted_head(runtime, model, self.view, self.data.own) if self.data.own else model

    def _batches(self, steps: range) -> Iterator[LabelledImages]:
        train, config, device = self.data.train, self.recipe.config, self.runtime.device

        def batch(step: int) -> LabelledImages:
            numbers = batch_numbers(len(train.labels), config.batch, self.recipe.seed, step)
            return train[numbers.to(train.labels.device, non_blocking=True)]

        if train.labels.device.type == device.type:
            yield from map(batch, steps)
        else:  # a GPU that does not hold all images: a thread gathers those of the next steps
            for staged in ahead(batch(step).map(self.runtime.staged) for step in steps):
                yield staged.map(self.runtime.send)

    def _train_on(self, step: int, batch: LabelledImages) -> Tensor:
        return self.step(batch, step)

    def _after(self, done: int, loss: Tensor) -> None:
        point = self._measure(done) if done in self._due else None
        self.supervision.report(done, loss, point)

    def _measure(self, done: int) -> Point:
        """Accuracies after `done` steps; what early stopping sees of them, too."""
        data = self.data
        self.tested = self._fitted()
        network = self._folded(self.tested)
        self.correct.append(correct_predictions(network, data.test, self.view, self.runtime))
        test = float(self.correct[-1].float().mean())
        sample = correct_predictions(network, data.train, self.view, self.runtime, TRAIN_SAMPLE)
        point = Point(done, test, float(sample.float().mean()))
        self.curve.append(point)
        if data.validation:
            published, clean = (
                correct_predictions(network, images, self.view, self.runtime) for images in data.validation
            )
            self.validation_points.append(ValidationPoint(done, test, published, clean))
        return point

    def _attacked(self, model: nn.Module) -> Attacked | None:
        """How the trained `model` withstands attacks; None where the victim was trained without an adversary."""
        if not self.recipe.attacker.rho_a:
            return None
        with deterministic():
            own, seed = own_adversary(self.recipe), self.recipe.seed
            return attacked(self._folded(model), self.data, own, self.view, self.runtime, seed)

    def _folded(self, model: nn.Module) -> FoldedNetwork:
        return self.network.folded if model is self.network.model else self.runtime.folded(model)


def own_adversary(recipe: VictimRecipe) -> InnerPerturbation:
    """The adversary that a victim is trained against."""
    rho, config = recipe.attacker.rho_a, recipe.config
    return InnerPerturbation(rho, rho * config.step_share, config.steps_a)


@dataclass(frozen=True)
class VictimStep:
    """A training step of an attacker: view, augmentation, adversary, parameters."""

    network: TrainableNetwork
    view: View
    recipe: VictimRecipe

    def __call__(self, batch: LabelledImages, number: int) -> Tensor:
        """The loss of step `number`, detached, on the device. The adversary, and where nothing is augmented the view,
        treat every image by itself, and go part by part.
        """
        runtime, seed, network = self.network.runtime, self.recipe.seed, self.network.folded
        images, labels = batch.images.float() / 255, batch.labels
        augment = BY_NAME[self.recipe.attacker.countermeasure].augment
        if augment:
            generator, view = runtime.generator(seed, "victim", number), self.view.on(batch.sizes)
            seen, shares = view.apply(images, view.draw(images, generator)), F.one_hot(labels, self.recipe.classes)
            images, labels = augment(seen, shares.float(), generator, self._losses)

        def perturbed(part: int, here: slice) -> Tensor:
            sizes = None if batch.sizes is None or augment else batch.sizes[here]
            function = partial(self._perturbed, network, None if augment else self.view)
            generator = runtime.generator(seed, "victim", number, part)
            return network.graphs("victim step", function, images[here], labels[here], sizes, generator=generator)

        return self.network.step(runtime.by_parts(len(images), perturbed), labels)

    def _perturbed(
        self,
        network: FoldedNetwork,
        view: View | None,
        images: Tensor,
        labels: Tensor,
        sizes: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """What the parameters are trained on: views of float images, or with no view the images, and the adversary."""
        if view:
            view = view.on(sizes)
            images = view.apply(images, view.draw(images, generator))
        return images + own_adversary(self.recipe).perturb(network, images, labels, generator)

    @torch.no_grad()
    def _losses(self, images: Tensor, shares: Tensor) -> Tensor:
        return F.cross_entropy(self.network.folded(images), shares, reduction="none")
