"""What decides a victim besides its data, and the network that it starts with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ..models import Weights, build, build_from, head
from ..settings import VerifyConfig
from .attacker import Attacker
from .simclr import with_projection


@dataclass(frozen=True)
class VictimRecipe:
    """All that decides a victim besides its data and the device.

    Draws, batches and initial weights depend on `seed` alone, so that victims of one seed differ in their data only.
    """

    attacker: Attacker
    config: VerifyConfig
    classes: int
    seed: int
    weights: Weights | None = None  # that it starts from, unless it starts from scratch


def initial_model(recipe: VictimRecipe, size: tuple[int, int]) -> nn.Module:
    """The network before its first step, in the mode that it trains in."""
    model = _given_model(recipe, size)
    return with_projection(model, recipe.seed).train() if recipe.attacker.unlabelled else model


def _given_model(recipe: VictimRecipe, size: tuple[int, int]) -> nn.Module:
    attacker, classes, seed = recipe.attacker, recipe.classes, recipe.seed
    if attacker.start == "scratch" or recipe.weights is None:
        return build(attacker.network, classes, size, seed).train()
    model = build_from(recipe.weights, attacker.network, classes, size, seed)
    if attacker.start == "full":
        return model.train()
    model.requires_grad_(False)
    head(model)[1].requires_grad_(True)
    return model.eval()  # of a probe, batch norm stays as it was given
