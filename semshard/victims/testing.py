"""Testing a victim: on clean images as they are, and under attacks of the size that it was trained against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..engine import FoldedNetwork, Runtime
from ..noise import InnerPerturbation
from ..noise.views import View
from .data import LabelledImages, VictimData

TEST_BATCH = 500
PGD_STEPS, PGD_SHARE = 10, 1 / 4  # PGD-10: steps, and their size as a share of the radius
ATTACKED_SAMPLE = 500  # training images that are attacked, at most


@torch.no_grad()
def correct_predictions(
    network: FoldedNetwork, data: LabelledImages, view: View, runtime: Runtime, most: int | None = None
) -> Tensor:
    """Which images of `data` the network classifies correctly, through the view's centre: bool (N,) on the CPU. Of
    `most` of them where there are more.
    """
    correct = [network(seen).argmax(1) == labels for seen, labels in through_centre(data, view, runtime, most)]
    return torch.cat(correct).cpu()


@dataclass(frozen=True)
class Attacked:
    """What an adversarially trained network gets right where attacks at the radius of its own adversary have changed
    the images. Shares in [0, 1].
    """

    under_pgd: float  # of the clean test images, by PGD-10
    train_under_pgd: float  # of a sample of the images it was trained on, by PGD-10
    train_under_own: float  # of the same sample, by its own adversary


def attacked(
    network: FoldedNetwork, data: VictimData, own: InnerPerturbation, view: View, runtime: Runtime, seed: int
) -> Attacked:
    """How a network that was trained against the adversary `own` withstands it, and PGD-10 at its radius (Madry et al.
    2018): 10 steps of a quarter of the radius. Random starts depend on `seed` alone. PGD-10 costs 21 forward passes per
    image.
    """
    pgd_10 = InnerPerturbation(own.rho, own.rho * PGD_SHARE, PGD_STEPS)

    def accuracy(attack: InnerPerturbation, images: LabelledImages, stream: str, most: int | None = None) -> float:
        correct = tested = 0
        for number, (seen, labels) in enumerate(through_centre(images, view, runtime, most)):
            delta = attack.perturb(network, seen, labels, runtime.generator(seed, stream, number))
            with torch.no_grad():
                correct += int((network(seen + delta).argmax(1) == labels).sum())
            tested += len(labels)
        return correct / tested

    return Attacked(
        accuracy(pgd_10, data.test, "test under PGD"),
        accuracy(pgd_10, data.train, "training images under PGD", ATTACKED_SAMPLE),
        accuracy(own, data.train, "training images under its own adversary", ATTACKED_SAMPLE),
    )


def attack_passes(steps_a: int, tested: int, trained: int) -> int:
    """Forward passes of one image that `attacked` costs, an input gradient counted as two, with so many test and
    training images and an adversary of so many steps.
    """
    sample = min(ATTACKED_SAMPLE, trained)
    return (2 * PGD_STEPS + 1) * (tested + sample) + (2 * steps_a + 1) * sample


def through_centre(
    data: LabelledImages, view: View, runtime: Runtime, most: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of float images as a network sees them in a test, through the view's centre, and their labels, on the
    device. Of `most` images where there are more.
    """
    for batch in data.batches(TEST_BATCH, most):
        part = batch.map(runtime.send)
        images, centred = part.images.float() / 255, view.on(part.sizes)
        yield centred.apply(images, centred.centre(images)), part.labels
