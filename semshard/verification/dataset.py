"""The samples that victims are trained on, and others, clean, that they are tested on, in every form that is tried.

Photographs are kept squashed to a square, two views wide. The filter of a countermeasure is applied to them before
that, at their own resolution.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ShardError
from ..inspection.originals import Originals, OriginalsPlace
from ..noise.photos import add_cells, cell_side
from ..settings import VerifyConfig
from ..shards import Shards
from ..sources import squash
from ..sources.collection import SQUASHED, Collection
from ..threads import ordered_map
from ..victims import BY_NAME, Filter, LabelledImages, VictimData, apply

VALIDATION = 0.1  # of the training images, for early stopping
Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Photos:
    """Where photographs come from, at their own resolution."""

    shards: Shards
    originals: Originals
    numbers: NDArray[np.int64]  # of the samples in the shards
    budget: int  # grey levels
    seed: int
    side: int  # pixels a side of a squashed photograph
    tests: tuple[Collection, NDArray[np.int64]] | None = None  # others to test on, by number: rows after the shards'

    def squashed(self, kinds: list[str], rows: NDArray[np.int64], filter: Filter | None) -> Pixels:
        """Photographs (n, side, side, 3): each of `rows` in its kind of `kinds`, through `filter`, then squashed."""

        def prepare(photo: tuple[str, int]) -> Pixels:
            pixels = self.pixels(*photo)
            return squash(filter(pixels) if filter else pixels, self.side)

        return np.stack(list(ordered_map(prepare, zip(kinds, rows.tolist(), strict=True))))

    def pixels(self, kind: str, row: int) -> Pixels:
        """A photograph, clean, protected, or with random noise (control); those to test on are clean. Raises
        `RejectedImage`.
        """
        if self.tests and row >= len(self.numbers):
            collection, numbers = self.tests
            return collection.pixels(int(numbers[row - len(self.numbers)]))
        sample = self.shards[int(self.numbers[row])]
        if kind == "protected":
            return sample.image
        clean = self.originals.pixels(sample.key)
        if kind == "clean":
            return clean
        height, width = clean.shape[:2]
        cell = cell_side(height, width, self.side // SQUASHED)
        random = np.random.Generator(np.random.PCG64([self.seed, 0xC0, row]))
        shape = 3, -(-height // cell), -(-width // cell)
        return add_cells(clean, random.integers(-self.budget, self.budget, shape, np.int8, endpoint=True), cell)


@dataclass(frozen=True)
class DatasetPlace:
    """Where the images of a dataset are, and how they are chosen: `load.open_dataset` reads the same ones by these some
    hundred bytes.
    """

    shards: str  # a whole path, or a URL
    ledger: str | None
    originals: OriginalsPlace
    config: VerifyConfig
    twins: tuple[tuple[int, int], ...]  # samples that show the same as an earlier one: places of both
    test: str | None = None  # a source of images to test on


@dataclass(frozen=True)
class VictimDataset:
    """The chosen samples: keys, labels, pixels uint8 (N, H, W, 3), and which are for training and for testing."""

    keys: list[str]
    labels: NDArray[np.int64]
    clean: Pixels
    protected: Pixels
    train: Mask
    test: Mask  # held out
    budget: int  # grey levels
    seed: int
    filter_on: str = "both"  # or train: what the filter of a countermeasure is applied to
    sizes: NDArray[np.int64] | None = None  # (N, 2), heights and widths of photographs before they were squashed
    photos: Photos | None = None
    place: DatasetPlace | None = None  # where another process finds the same; None where only this one can read it

    @property
    def size(self) -> int:
        """Bytes of its pixels."""
        return self.clean.nbytes + self.protected.nbytes

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what its pixels and labels are, in hex."""
        digest = hashlib.sha256()
        for array in (self.labels, self.clean, self.protected, self.train, self.test):
            digest.update(array.tobytes())
        return digest.hexdigest()

    def pairs(self, most: int) -> Iterator[tuple[Pixels, Pixels]]:
        """Originals and published images at their own resolution, at most `most` pairs."""
        for row in range(min(most, len(self.keys))):
            if self.photos:
                yield self.photos.pixels("clean", row), self.photos.pixels("protected", row)
            else:
                yield self.clean[row], self.protected[row]

    def data(self, kind: str, countermeasure: str = "none", fraction: float = 1.0, rest: bool = False) -> VictimData:
        """What a victim trains on, through the countermeasure's filter, and what it is tested on, filtered or not.

        `kind` is clean, protected, or control: the originals with random noise that is as large as the budget allows.
        Only a `fraction` of the training images is of that kind, the others are clean; with `rest` only those others
        are in the data. Images that the attacker of a countermeasure owns are not among them. What he learns before a
        victim is trained is not applied yet. Raises `ShardError` where too few images are left.
        """
        chosen, own = self._drawn("fraction", fraction), self._own(countermeasure)
        train = self.train & ~own
        if rest:
            train &= ~chosen
        held_back = self._drawn("validation", VALIDATION if countermeasure == "early-stop" else 0)
        if not (train & ~held_back).any():
            raise ShardError(
                f"{self.train.sum()} training images are too few: with a protected fraction of {fraction:.4g} none is "
                "left unprotected"
            )
        if countermeasure == "early-stop" and not (train & held_back).any():
            raise ShardError(f"{train.sum()} training images are too few to hold some back for early stopping")
        filter = BY_NAME[countermeasure].filter
        trained_on = self._labelled(kind, train & ~held_back, chosen, filter)
        test = self._labelled("clean", self.test, filter=filter if self.filter_on == "both" else None)
        validation = None
        if countermeasure == "early-stop":
            held_back &= train
            validation = self._labelled(kind, held_back, chosen), self._labelled("clean", held_back)
        return VictimData(trained_on, test, validation, self._labelled("clean", own) if own.any() else None)

    def _own(self, countermeasure: str) -> Mask:
        """Which training images the attacker of a countermeasure owns, clean."""
        share = BY_NAME[countermeasure].own_share(int(self.train.sum()))
        own = self.train & self._drawn("own", share)
        if share and not own.any():
            raise ShardError(
                f"{self.train.sum()} training images are too few to give some to the attacker: {countermeasure}"
            )
        return own

    def _drawn(self, purpose: str, share: float) -> Mask:
        """Which samples are in a random share of them: drawn by a hash of the key, the same every time."""
        return np.array([share_of(f"{purpose}/{key}") < share for key in self.keys], bool)

    def _labelled(
        self, kind: str, mask: Mask, chosen: Mask | None = None, filter: Filter | None = None
    ) -> LabelledImages:
        """The samples of `mask`: of that kind where `chosen`, clean elsewhere."""
        chosen = np.ones(len(mask), bool) if chosen is None else chosen
        labels = torch.from_numpy(self.labels[mask])
        sizes = None if self.sizes is None else torch.from_numpy(self.sizes[mask])
        if self.photos and (filter or kind == "control"):
            rows = np.flatnonzero(mask)
            pixels, filter = (
                self.photos.squashed([kind if chosen[row] else "clean" for row in rows], rows, filter),
                None,
            )
        else:
            known = {"clean": self.clean, "protected": self.protected}.get(kind)
            pixels = (self._control if known is None else known)[mask]
            if not chosen[mask].all():
                pixels = np.where(chosen[mask][:, None, None, None], pixels, self.clean[mask])
        planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        return LabelledImages(apply(filter, planes) if filter else planes, labels, sizes)

    @functools.cached_property
    def _control(self) -> Pixels:
        return control(self.clean, self.budget, self.seed)


def control(clean: Pixels, budget: int, seed: int) -> Pixels:
    """The originals with random noise that is as large as the budget allows: uniform in ±budget."""
    random = np.random.Generator(np.random.PCG64([seed, 0xC0]))
    noise = random.integers(-budget, budget, clean.shape, np.int16, endpoint=True)
    noisy: Pixels = np.clip(clean + noise, 0, 255).astype(np.uint8)
    return noisy


def share_of(text: str) -> float:
    """A number in [0, 1), uniform over texts: the first bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
