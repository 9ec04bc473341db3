"""Last-layer retraining: the features that a victim learned from the shards, with a last layer fitted on a few clean
images.

Kirichenko et al., ICLR 2023: a network that relies on a shortcut has learned other features, too, and a logistic
regression on few images without the shortcut finds them.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine import Runtime
from ..models import head
from ..noise.views import View
from .data import LabelledImages
from .testing import through_centre

PENALTY = 1.0  # times half of the squared weights, of standardised features: scikit-learn's default
ITERATIONS = 100  # of L-BFGS


def with_refitted_head(runtime: Runtime, model: nn.Module, view: View, own: LabelledImages) -> nn.Module:
    """A copy of `model`, in evaluation mode, whose last layer is fitted on clean images; all else is as it was."""
    refitted = copy.deepcopy(model).eval()
    layer = head(refitted)[1]
    seen = _features(runtime, refitted, layer, view, own)
    load_fitted(layer, seen, own.labels.cpu())
    return refitted


@torch.no_grad()
def load_fitted(layer: nn.Linear, features: Tensor, labels: Tensor) -> None:
    """Give a layer the logistic regression of float64 features (N, features), standardised, and int64 labels (N,)."""
    mean, spread = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    weight, bias = logistic_regression((features - mean) / spread, labels, layer.out_features)
    weight = weight / spread
    layer.weight.copy_(weight)
    layer.bias.copy_(bias - weight @ mean)


@torch.no_grad()
def _features(runtime: Runtime, model: nn.Module, layer: nn.Linear, view: View, own: LabelledImages) -> Tensor:
    """What the last layer is given, through the view's centre: float64 (N, features) on the CPU."""
    found: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].double().cpu()))
    try:
        for images, _ in through_centre(own, view, runtime):
            runtime.logits(model, images)
    finally:
        hook.remove()
    return torch.cat(found)


def logistic_regression(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Weights (classes, features) and biases (classes,) of the least cross-entropy, summed over float64 features (N,
    features) and int64 labels (N,), plus the penalty on the weights.
    """
    weight = features.new_zeros(classes, features.shape[1], requires_grad=True)
    bias = features.new_zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels, reduction="sum") + PENALTY / 2 * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
