"""Testing a victim on clean images: as they are, and under an adversary of the size that it was trained against."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..noise import InnerPerturbation
from ..noise.views import View
from .data import LabelledImages

TEST_BATCH = 500
PGD_STEPS, PGD_SHARE = 10, 1 / 4  # PGD-10: steps, and their size as a share of the radius


@torch.no_grad()
def correct_predictions(network: FoldedNetwork, data: LabelledImages, view: View, runtime: Runtime) -> Tensor:
    """Which images of `data` the network classifies correctly, through the view's centre: bool (N,) on the CPU."""
    correct = [network(seen).argmax(1) == labels for seen, labels in through_centre(data, view, runtime)]
    return torch.cat(correct).cpu()


def accuracy_under_pgd(
    network: FoldedNetwork, data: LabelledImages, view: View, runtime: Runtime, rho: float, seed: int
) -> float:
    """Accuracy, in [0, 1], on images that PGD-10 has changed by up to `rho` (Madry et al. 2018): 10 steps of a quarter
    of the radius from a random start, which depends on `seed` alone. It costs 21 forward passes per image.
    """
    attack, correct = InnerPerturbation(rho, rho * PGD_SHARE, PGD_STEPS), 0
    for number, (seen, labels) in enumerate(through_centre(data, view, runtime)):
        delta = attack.perturb(network, seen, labels, runtime.generator(seed, "test under PGD", number))
        with torch.no_grad():
            correct += int((network(seen + delta).argmax(1) == labels).sum())
    return correct / len(data.labels)


def through_centre(data: LabelledImages, view: View, runtime: Runtime) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of float images as a network sees them in a test, through the view's centre, and their labels, on the
    device.
    """
    for at in range(0, len(data.labels), TEST_BATCH):
        part = data[at : at + TEST_BATCH].map(runtime.send)
        images, centred = part.images.float() / 255, view.on(part.sizes)
        yield centred.apply(images, centred.centre(images)), part.labels
