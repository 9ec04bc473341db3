"""SimCLR: features learned from the shards without their labels, and a last layer fitted on them.

Chen et al., ICML 2020. Two views of an image should have features that are alike, and unlike those of all other images.
No label enters that loss, so a shortcut from noise to label gives it nothing; labels only fit the last layer.

What differs from the paper: the views have no blur and no change of hue; SGD by the victim's recipe in place of LARS,
and its batch; no batch norm in the projection, as the paper's equation has it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..engine import Runtime, TrainableNetwork, permutation
from ..models import head, seeded
from ..noise.views import ResizedCrop, View
from .countermeasures.strong import changed_colours, random_part
from .data import LabelledImages
from .refit import load_fitted, logistic_regression
from .testing import through_centre

TEMPERATURE = 0.5  # the paper's best for CIFAR-10
PROJECTED = 128  # dimensions that views are compared in
FITTED = 5000  # labelled images of the collection that the last layer is fitted on, at most
TIMED = 1000  # of them in a trial


class Projection(nn.Sequential):
    """Two layers from features (N, features) to what views are compared by, float (N, 128). It is not kept."""

    def __init__(self, features: int) -> None:
        super().__init__(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, PROJECTED))
        self.features = features


def with_projection(model: nn.Module, seed: int) -> nn.Module:
    """The network itself, a projection drawn from `seed` in place of its last layer."""
    name, layer = head(model)
    with seeded(seed):
        model.set_submodule(name, Projection(layer.in_features))
    return model


def projection_of(model: nn.Module) -> tuple[str, Projection]:
    """The projection of a network that has one, and its name."""
    return next((name, module) for name, module in model.named_modules() if isinstance(module, Projection))


def nt_xent(projected: Tensor, numbers: Tensor) -> Tensor:
    """The paper's Eq. 1, averaged over views: the cross-entropy of finding, by cosine, the other view of the same image
    among all other views. Float (2N, D); numbers of the images, int64 (2N,), each twice.
    """
    unit = F.normalize(projected, dim=1)
    alike = unit @ unit.T / TEMPERATURE
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    other = (numbers[:, None] == numbers) & ~itself
    return F.cross_entropy(alike.masked_fill(itself, -torch.inf), other.int().argmax(1))


@dataclass(frozen=True)
class SimclrStep:
    """A training step: two views of every image, the loss of all views."""

    network: TrainableNetwork
    view: View
    seed: int

    def __call__(self, batch: LabelledImages, number: int) -> Tensor:
        """The loss of step `number`, detached, on the device. It reads no label."""
        runtime, images = self.network.runtime, batch.images.float() / 255

        def two_views(part: int, here: slice) -> Tensor:
            view = self.view.on(None if batch.sizes is None else batch.sizes[here])
            generator = runtime.generator(self.seed, "simclr", number, part)
            return torch.stack([seen(images[here], view, generator) for _ in range(2)], 1)

        views = runtime.by_parts(len(images), two_views)  # (N, 2, 3, H, W)
        numbers = torch.arange(len(images), device=images.device).repeat_interleave(2)
        return self.network.step(views.flatten(0, 1), numbers)


def seen(images: Tensor, view: View, generator: Generator) -> Tensor:
    """A view of each of the float images (N, 3, H, W): a random part of it, maybe mirrored, with changed colours."""
    part = view.apply(images, view.draw(images, generator))
    if not isinstance(view, ResizedCrop):  # which is a random part already
        part = random_part(part, generator)
    return changed_colours(part, generator)


def with_fitted_head(
    runtime: Runtime, model: nn.Module, view: View, train: LabelledImages, classes: int, seed: int
) -> nn.Module:
    """A copy of `model`, in evaluation mode, with a last layer in place of its projection: the logistic regression of
    the features of training images, as they were published, of at most `FITTED` of them, drawn by `seed`.
    """
    numbers = permutation(len(train.labels), seed, "labelled")[:FITTED].sort()[0]
    some = train[numbers.to(train.labels.device)]
    encoder = copy.deepcopy(model).eval()
    name, projection = projection_of(encoder)
    encoder.set_submodule(name, nn.Identity())
    like = next(encoder.parameters())
    layer = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Linear, projection.features, classes, device=like.device, dtype=like.dtype
    )
    load_fitted(layer, features(runtime, encoder, view, some), some.labels.cpu())
    encoder.set_submodule(name, layer)
    return encoder


@torch.no_grad()
def features(runtime: Runtime, encoder: nn.Module, view: View, images: LabelledImages) -> Tensor:
    """What a network without its last layer gives for images through the view's centre: float64 (N, features) on the
    CPU.
    """
    network = runtime.folded(encoder)
    return torch.cat([network(batch).double().cpu() for batch, _ in through_centre(images, view, runtime)])


def trial_fit(features: int, classes: int) -> None:
    """Fit a last layer on `TIMED` random features: to be timed."""
    with seeded(0):
        logistic_regression(torch.randn(TIMED, features).double(), torch.arange(TIMED) % classes, classes)
