"""k-means on features of unit length, and groups that can be used as classes: none too small, the largest first."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..engine import Runtime, deterministic
from ..errors import SettingError
from ..progress import Progress, silent
from .features import make_features

Labels = NDArray[np.int64]
Points = NDArray[np.float32]

STEPS = 100
MANY = 50_000  # images; above, k-means takes them in batches
STARTS = 5  # of k-means; the best is kept
AT_LEAST = 2  # images per group: one to train on and one to test on


@dataclass(frozen=True)
class Groups:
    """Which group each image is in, int64 (N,) from 0 by decreasing size, and the origin of the features as text."""

    labels: Labels
    features: str


@torch.no_grad()
def group_images(
    runtime: Runtime, images: Tensor, groups: int, seed: int, *, steps: int = STEPS, progress: Progress = silent
) -> Groups:
    """Groups of images that look alike: uint8 (N, 3, H, W) on the CPU, at least 8 pixels per side.

    Every group has at least two images; groups of one size are in the order of their first images. `steps` is how
    many batches features are learnt from where torchvision's are not in its cache. The same images, seed and machine
    give the same groups.

    Raises `SettingError` for fewer than two groups, and for fewer than two images per group.
    """
    if groups < 2:
        raise SettingError(f"groups = {groups} is too few; give at least 2")
    if len(images) < AT_LEAST * groups:
        raise SettingError(
            f"{len(images)} images are too few for {groups} groups of at least {AT_LEAST}; ask for fewer groups"
        )
    with deterministic():
        features, origin = make_features(runtime, images, seed, steps, progress)
    points = F.normalize(features).numpy()
    return Groups(by_size(filled(*cluster(points, groups, seed), points)), origin)


def cluster(points: Points, groups: int, seed: int) -> tuple[Labels, Points]:
    """k-means: the group of every point, and the centres (groups, d)."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    state = int.from_bytes(hashlib.sha256(f"{seed}/groups".encode()).digest()[:4], "big")
    kind = KMeans if len(points) <= MANY else MiniBatchKMeans
    # several threads add in any order, which changes the last digit
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different images than groups
        fitted = kind(groups, n_init=STARTS, random_state=state).fit(points)
    return fitted.labels_.astype(np.int64), fitted.cluster_centers_


def filled(labels: Labels, centres: Points, points: Points) -> Labels:
    """The labels after groups that are too small have taken the nearest images of larger ones."""
    labels = labels.copy()
    sizes = np.bincount(labels, minlength=len(centres))
    while sizes.min() < AT_LEAST:
        group = int(sizes.argmin())
        spare = np.flatnonzero((sizes > AT_LEAST)[labels])
        nearest = spare[np.square(points[spare] - centres[group]).sum(1).argmin()]
        sizes[labels[nearest]] -= 1
        sizes[group] += 1
        labels[nearest] = group
    return labels


def by_size(labels: Labels) -> Labels:
    """The same groups, numbered by decreasing size, then by their first member."""
    _, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    numbers = np.empty(len(sizes), np.int64)
    numbers[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return numbers[labels]
