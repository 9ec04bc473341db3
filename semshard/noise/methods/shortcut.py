"""Synthesised shortcuts: low-resolution patterns that are linearly separable by class; no network at all.

Yu et al., KDD 2022 ("Availability Attacks Create Shortcuts"): every class is a cluster around a corner of a hypercube,
every image takes a point of its class' cluster, enlarged patch by patch. Theirs lie on an L2 sphere; here the corners
lie on the L∞ ball, and what a point sticks out is cut off.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...config import ProtectConfig
from ...errors import SettingError
from ...radii import levels

SEPARATION = 10.0  # of the corners from the origin; a cluster spreads by about 4
EACH = 1000  # points of a class, at most
VALUES = 1 << 25  # of all points together, at most


class Shortcut:
    """Patterns for `classes` classes of images of `size` (height, width)."""

    def __init__(self, config: ProtectConfig, classes: int, size: tuple[int, int]) -> None:
        self._config, self._size = config, size
        self._rows, self._columns = (-(-side // config.patch) for side in size)
        features = 3 * self._rows * self._columns
        if 2**features < classes:
            raise SettingError(
                f"patches of {config.patch} pixels tell at most {2**features} classes apart; lower --patch"
            )
        self._points = points(classes, features, config.seed)

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        random = np.random.Generator(np.random.PCG64([self._config.seed, shard, at]))
        chosen = random.integers(self._points.shape[1], size=len(labels))
        grid = self._points[labels.numpy(), chosen].reshape(-1, 3, self._rows, self._columns)
        patch, (height, width) = self._config.patch, self._size
        noise = grid.repeat(patch, 2).repeat(patch, 3)[:, :, :height, :width]
        most = levels(self._config.rho_u)
        return torch.from_numpy(np.clip(np.rint(noise * (most / SEPARATION)), -most, most).astype(np.int8))


def points(classes: int, features: int, seed: int) -> NDArray[np.float32]:
    """Clusters (classes, points each, features) around corners of the hypercube ±`SEPARATION`."""
    from sklearn.datasets import make_classification

    each = max(1, min(EACH, VALUES // (classes * features)))
    found, labels = make_classification(
        n_samples=classes * each,
        n_features=features,
        n_informative=features,
        n_redundant=0,
        n_repeated=0,
        n_classes=classes,
        n_clusters_per_class=1,
        flip_y=0.0,
        class_sep=SEPARATION,
        shuffle=False,
        random_state=seed % 2**32,
    )
    order = np.argsort(labels, kind="stable")
    clusters: NDArray[np.float32] = found[order].reshape(classes, each, features).astype(np.float32)
    return clusters
