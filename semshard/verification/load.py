"""From finished shards to a dataset: samples beside their originals, and which of them victims are tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import LedgerError, RejectedImage, SettingError, ShardError
from ..inspection.originals import Originals, find_originals, opens_again
from ..progress import Event, Progress, silent
from ..settings import VerifyConfig
from ..shards import Shards, open_shards
from ..sources import Source, open_source, scan, squash
from ..sources.collection import SQUASHED
from ..sources.decode import decoding_of
from ..storage import is_remote
from ..threads import ordered_map
from .dataset import DatasetPlace, Photos, Pixels, VictimDataset, share_of
from .near_duplicates import Thumbnail, near_duplicates, thumbnail

Twins = tuple[tuple[int, int], ...]  # samples that show the same as an earlier one: places of both


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
    thumbnail: Thumbnail  # of the original


def load_dataset(
    shards: Shards, originals: Originals, config: VerifyConfig, progress: Progress, twins: Twins | None = None
) -> VictimDataset:
    """The samples of `shards` beside their originals; a hash of its key decides whether a sample is used and held out.
    Samples that show the same are held out together, as the first of them: `twins` where they are known already.

    Raises `ShardError` where they are too few.
    """
    chosen, side = _chosen(shards, config.max_samples), _side(shards, config)
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
    if twins is None:
        first = near_duplicates([pair.thumbnail for pair in pairs]).tolist()
        twins = tuple((number, place) for number, place in enumerate(first) if place != number)
    first = list(range(len(keys)))
    for number, place in twins:
        first[number] = place
    if twins:
        same = f"{len(twins)} of {len(keys)} samples show what another one shows"
        progress(Event("load", message=f"{same}: on one side of the split"))
    held_out = np.array([share_of(f"holdout/{keys[place]}") < config.holdout for place in first], bool)
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
        _place(shards, originals, config, twins),
    )


def _place(shards: Shards, originals: Originals, config: VerifyConfig, twins: Twins) -> DatasetPlace | None:
    where, there = originals.elsewhere(), shards.elsewhere()
    ledger = there.ledger_files.place.url if (there.ledger / "run.json").exists() else None
    return DatasetPlace(there.url, ledger, where, config, twins) if where else None


def open_dataset(place: DatasetPlace) -> VictimDataset:
    """The dataset at a place. Raises as `open_shards`, `required_originals`, `load_dataset` and `with_test`."""
    shards = open_shards(place.shards, ledger=place.ledger)
    originals = place.originals.open(shards)
    if originals is None:
        raise LedgerError(f"the clean originals are missing: {_no_ledger(shards)}")
    dataset = load_dataset(shards, originals, place.config, silent, place.twins)
    return with_test(dataset, shards, open_source(place.test), place.test, silent) if place.test else dataset


def check_test(source: Source, classes: Sequence[str]) -> None:
    """Raises `SettingError` where a source of test images has other classes than these."""
    unknown = sorted({*source.classes} - {*classes})
    if unknown or not source.classes:
        raise SettingError(
            f"{source.spec} has other classes than the training images: {', '.join(unknown[:5]) or 'none'}"
        )


def with_test(dataset: VictimDataset, shards: Shards, source: Source, spec: str, progress: Progress) -> VictimDataset:
    """All samples of `dataset` to train on, and the images of a source, which `spec` names, to test on, except copies
    of training images.

    `check_test` has passed. Raises `SettingError` where they have another size, or none is left.
    """
    settings = shards.manifest["settings"]
    collection = scan(source, decoding_of(settings), settings["resolution"])
    if collection.size != shards.size:
        raise SettingError(f"{source.spec} cannot test these shards: its images have another size, or several")
    photos = dataset.photos
    pixels, numbers, _ = collection.stack(collection.usable, photos.side if photos else 0)
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
        sizes=None if dataset.sizes is None else np.concatenate([dataset.sizes, collection.sizes[numbers]]),
        photos=replace(photos, tests=(collection, numbers)) if photos else None,
        place=replace(dataset.place, test=spec) if dataset.place and opens_again(source) else None,
    )


def _side(shards: Shards, config: VerifyConfig) -> int:
    """Pixels a side of a squashed photograph; 0 for images of one size, which stay as they are."""
    if shards.size is not None:
        return 0
    if config.views != "resized-crop":
        raise SettingError("photographs of different sizes need --views resized-crop")
    return SQUASHED * config.crop


def _chosen(shards: Shards, most: int) -> list[int]:
    """The samples that are used: all, or the `most` whose keys have the lowest hashes."""
    if not most or most >= len(shards):
        return list(range(len(shards)))
    shares = np.array(list(map(share_of, shards.keys())))
    return sorted(shares.argsort(kind="stable")[:most].tolist())


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
        return _Pair(sample.key, sample.label, small, protected, size, thumbnail(clean))

    shards.keys()  # builds the index before threads use it
    return ordered_map(load, numbers)
