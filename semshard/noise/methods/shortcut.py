"""Synthesised shortcuts: low-resolution patterns that are linearly separable by class; no network at all.

Yu et al., KDD 2022 ("Availability Attacks Create Shortcuts"): every class is a cluster around a corner of a hypercube,
every image takes a point of its class' cluster, enlarged patch by patch. Theirs lie on an L2 sphere; here the corners
lie on the L∞ ball, and what a point sticks out is cut off.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import SettingError
from ...settings import ProtectConfig, Size, levels
from ..photos import add_cells
from .protocol import Photo

SEPARATION = 10.0  # of the corners from the origin; a cluster spreads by about 4
EACH = 1000  # points of a class, at most
PHOTO_SIDE = 224  # pixels that --patch refers to where photographs keep their own size
VALUES = 1 << 25  # of all points together, at most


class Shortcut:
    """Patterns for `classes` classes of images of `size` (height, width)."""

    def __init__(self, config: ProtectConfig, classes: int, size: Size) -> None:
        self._config, self._size = config, size or (PHOTO_SIDE, PHOTO_SIDE)
        self._rows, self._columns = (-(-side // config.patch) for side in self._size)
        features = 3 * self._rows * self._columns
        if 2**features < classes:
            raise SettingError(
                f"patches of {config.patch} pixels tell at most {2**features} classes apart; lower --patch"
            )
        self._points = points(classes, features, config.seed)

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        patch, (height, width) = self._config.patch, self._size
        noise = self._grids(labels, shard, at).repeat(patch, 2).repeat(patch, 3)[:, :, :height, :width]
        return torch.from_numpy(noise)

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        """As for images of `PHOTO_SIDE` pixels, the patches stretched to each photograph."""
        protected = []
        for photo, grid in zip(photos, self._grids(labels, shard, at), strict=True):
            rows, columns = (np.arange(n) * of // n for n, of in zip(photo.shape[:2], grid.shape[1:], strict=True))
            protected.append(add_cells(photo, grid[:, rows][:, :, columns], 1))
        return protected

    def _grids(self, labels: Tensor, shard: int, at: int) -> NDArray[np.int8]:
        """Patches (N, 3, rows, columns) in grey levels."""
        random = np.random.Generator(np.random.PCG64([self._config.seed, shard, at]))
        chosen = random.integers(self._points.shape[1], size=len(labels))
        grid = self._points[labels.numpy(), chosen].reshape(-1, 3, self._rows, self._columns)
        most = levels(self._config.rho_u)
        noise: NDArray[np.int8] = np.clip(np.rint(grid * (most / SEPARATION)), -most, most).astype(np.int8)
        return noise


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
