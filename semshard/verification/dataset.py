"""The samples that victims are trained on, and others, clean, that they are tested on, in every form that is tried.

Photographs are kept squashed to a square, two views wide. The filter of a countermeasure is applied to them before
that, at their own resolution.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import LedgerError, RejectedImage, SettingError, ShardError
from ..inspection.originals import Originals, find_originals
from ..noise.photos import add_cells, cell_side
from ..progress import Event, Progress
from ..settings import VerifyConfig
from ..shards import Shards
from ..sources import Source, scan, squash
from ..sources.collection import SQUASHED
from ..sources.decode import decoding_of
from ..storage import is_remote
from ..threads import ordered_map
from ..victims import BY_NAME, Filter, LabelledImages, VictimData, apply
from .near_duplicates import Hash, difference_hash, near_duplicates

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

    def squashed(self, kinds: list[str], rows: NDArray[np.int64], filter: Filter | None) -> Pixels:
        """Photographs (n, side, side, 3): each of `rows` in its kind of `kinds`, through `filter`, then squashed."""

        def prepare(photo: tuple[str, int]) -> Pixels:
            pixels = self.pixels(*photo)
            return squash(filter(pixels) if filter else pixels, self.side)

        return np.stack(list(ordered_map(prepare, zip(kinds, rows.tolist(), strict=True))))

    def pixels(self, kind: str, row: int) -> Pixels:
        """A photograph, clean, protected, or with random noise (control). Raises `RejectedImage`."""
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
        return np.array([_share(f"{purpose}/{key}") < share for key in self.keys], bool)

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


def required_originals(shards: Shards, clean: str | Path | None) -> Originals:
    """The originals of `shards`. Raises `LedgerError` where they are missing."""
    originals = find_originals(shards, clean)
    if originals is None:
        raise LedgerError(
            f"the clean originals are missing: {_no_ledger(shards)}; "
            "give --clean SOURCE with the images that the shards were made from"
        )
    return originals


def _no_ledger(shards: Shards) -> str:
    return "no --ledger was given" if is_remote(shards.url) else f"{shards.ledger} does not exist"


@dataclass(frozen=True)
class _Pair:
    """A sample beside its original."""

    key: str
    label: int
    clean: Pixels
    protected: Pixels
    size: tuple[int, int]
    hash: Hash  # of the original: equal or close where two originals show the same


def load_dataset(shards: Shards, originals: Originals, config: VerifyConfig, progress: Progress) -> VictimDataset:
    """The samples of `shards` beside their originals; a hash of its key decides whether a sample is used and held out.
    Samples that show the same are held out together, as the first of them.

    Raises `ShardError` where they are too few.
    """
    share = config.max_samples / len(shards) if config.max_samples else 1
    chosen = [number for number, key in enumerate(shards.keys()) if _share(key) < share]
    side = _side(shards, config)
    pairs, numbers, missing = list[_Pair](), list[int](), dict[str, str]()
    for number, pair in zip(chosen, _pairs(shards, originals, chosen, side), strict=True):
        if isinstance(pair, _Pair):
            pairs.append(pair)
            numbers.append(number)
        else:
            key, reason = pair
            missing[key] = reason
    progress(Event("load", len(shards), len(shards), "samples"))
    if missing:
        key, reason = next(iter(missing.items()))
        left_out = f"{len(missing)} of {len(chosen)} samples are left out: their originals are missing"
        progress(Event("load", message=f"{left_out} ({key}: {reason})"))
    keys = [pair.key for pair in pairs]
    first = near_duplicates([pair.hash for pair in pairs]).tolist()
    twins = sum(place != number for number, place in enumerate(first))
    if twins:
        progress(
            Event(
                "load", message=f"{twins} of {len(keys)} samples show what another one shows: on one side of the split"
            )
        )
    held_out = np.array([_share(f"holdout/{keys[place]}") < config.holdout for place in first], bool)
    if not held_out.any() or held_out.all():
        raise ShardError(
            f"{len(keys)} samples are too few to hold out {config.holdout:.0%} for testing; "
            "protect more, or set --holdout"
        )
    photos = Photos(shards, originals, np.array(numbers), shards.budget, config.seed, side) if side else None
    return VictimDataset(
        keys,
        np.array([pair.label for pair in pairs], np.int64),
        np.stack([pair.clean for pair in pairs]),
        np.stack([pair.protected for pair in pairs]),
        ~held_out,
        held_out,
        shards.budget,
        config.seed,
        config.filter_on,
        np.array([pair.size for pair in pairs], np.int64) if side else None,
        photos,
    )


def check_test(source: Source, classes: Sequence[str]) -> None:
    """Raises `SettingError` where a source of test images has other classes than these."""
    unknown = sorted({*source.classes} - {*classes})
    if unknown or not source.classes:
        raise SettingError(
            f"{source.spec} has other classes than the training images: {', '.join(unknown[:5]) or 'none'}"
        )


def with_test(dataset: VictimDataset, shards: Shards, source: Source, progress: Progress) -> VictimDataset:
    """All samples of `dataset` to train on, and the images of a source to test on, except copies of training images.

    `check_test` has passed. Raises `SettingError` where they have another size, or none is left.
    """
    settings = shards.manifest["settings"]
    collection = scan(source, decoding_of(settings), settings["resolution"])
    if collection.size != shards.size:
        raise SettingError(f"{source.spec} cannot test these shards: its images have another size, or several")
    pixels, numbers, _ = collection.stack(collection.usable)
    known = {hashlib.sha256(image.tobytes()).digest() for image in dataset.clean}
    fresh = np.array([hashlib.sha256(image.tobytes()).digest() not in known for image in pixels], bool)
    copies = int((~fresh).sum())
    if copies:
        progress(Event("load", message=f"{copies:,} test images have the pixels of a training image: left out"))
    if copies == len(pixels):
        raise SettingError(f"{source.spec} holds no image that is not trained on, too")
    pixels, numbers = pixels[fresh], numbers[fresh]
    label_of = np.array([shards.classes.index(name) for name in source.classes], np.int64)
    train = np.arange(len(dataset.keys) + len(pixels)) < len(dataset.keys)
    return replace(
        dataset,
        keys=dataset.keys + [f"test/{source.entry(int(number)).name}" for number in numbers],
        labels=np.concatenate([dataset.labels, label_of[collection.labels[numbers]]]),
        clean=np.concatenate([dataset.clean, pixels]),
        protected=np.concatenate([dataset.protected, pixels]),
        train=train,
        test=~train,
    )


def _side(shards: Shards, config: VerifyConfig) -> int:
    """Pixels a side of a squashed photograph; 0 for images of one size, which stay as they are."""
    if shards.size is not None:
        return 0
    if config.views != "resized-crop":
        raise SettingError("photographs of different sizes need --views resized-crop")
    return SQUASHED * config.crop


def _pairs(shards: Shards, originals: Originals, numbers: list[int], side: int) -> Iterator[_Pair | tuple[str, str]]:
    """Each sample with its original; its key and the reason where the original is missing."""

    def load(number: int) -> _Pair | tuple[str, str]:
        sample = shards[number]
        try:
            clean = originals.pixels(sample.key)
        except RejectedImage as reason:
            return sample.key, str(reason)
        small, protected = (squash(pixels, side) if side else pixels for pixels in (clean, sample.image))
        size = clean.shape[0], clean.shape[1]
        return _Pair(sample.key, sample.label, small, protected, size, difference_hash(clean))

    shards.keys()  # builds the index before threads use it
    return ordered_map(load, numbers)


def _share(text: str) -> float:
    """A number in [0, 1), uniform over texts: the first bytes of its SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
