"""The clean originals of published samples: found by the ledger, or in a source by their pixels.

Verify, audit and preview need them; they are never in the public folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import LedgerError, RejectedImage, ShardError, SourceError
from ..settings import MOST_IN_SHARD
from ..shards import Ledger, Sample, Shards, code_of, damage
from ..sources import AUTO, Collection, Source, SourceOptions, open_source, scan, unscanned
from ..sources.decode import Decoded, decoding_of
from ..sources.image_metadata import Metadata
from ..threads import ordered_map

_SKETCH = 8  # sketches for matching are 8 × 8 means
_CANDIDATES = 8  # nearest sketches that are checked


@dataclass
class Originals:
    """Clean images by the key of their protected sample."""

    collection: Collection
    numbers: dict[str, int]  # key → number in the collection
    clean: str | None = None  # the source, where it is not the one that the ledger names
    by_pixels: bool = False  # whether they were found by their pixels, which takes long

    def pixels(self, key: str) -> NDArray[np.uint8]:
        """uint8 (H, W, 3). Raises `RejectedImage` where it is missing."""
        if key not in self.numbers:
            raise RejectedImage("no original is known for it")
        try:
            return self.collection.pixels(self.numbers[key])
        except RejectedImage as reason:
            raise RejectedImage(f"its original {reason}") from None

    def decoded(self, keys: Sequence[str], with_metadata: bool) -> tuple[dict[str, Decoded], dict[str, str]]:
        """The originals of `keys` that can be read, by key, and the reason for each of the others; without metadata,
        pixels that are in memory are not decoded again.
        """

        def load(key: str) -> Decoded | str:
            number = self.numbers.get(key)
            if number is None:
                return "no original is known for it"
            try:
                if with_metadata:
                    return self.collection.decoded(number)
                return Decoded(self.collection.pixels(number), "", Metadata())
            except RejectedImage as reason:
                return f"its original {reason}"

        results = dict(zip(keys, ordered_map(load, keys), strict=True))
        reasons = {key: found for key, found in results.items() if isinstance(found, str)}
        return {key: found for key, found in results.items() if not isinstance(found, str)}, reasons

    def of_shards(self) -> dict[int, dict[str, int]]:
        """`numbers` by the shard that a key belongs to."""
        found: dict[int, dict[str, int]] = {}
        for key, number in self.numbers.items():
            found.setdefault(code_of(key) // MOST_IN_SHARD, {})[key] = number
        return found

    def apart(self, numbers: Mapping[str, int]) -> Originals | None:
        """Those alone, as another process can have them; None where only this process can read the source."""
        part = self.collection.part(np.array(list(numbers.values()) or [0], np.int64), 0)
        return Originals(part, {key: place for place, key in enumerate(numbers)}) if part else None

    def elsewhere(self) -> OriginalsPlace | None:
        """Where they are, for other processes; None where only this process can read the source."""
        if opens_again(self.collection.source):
            found = np.array(list(self.numbers.values()), np.int64)
            matches = Matches(list(self.numbers), found, self.collection.sha256[found]) if self.by_pixels else None
            return OriginalsPlace(self.clean, matches)
        part = self.apart(self.numbers)
        return OriginalsPlace(part=part) if part else None

    def first(self) -> dict[str, int]:
        """The first of `numbers`."""
        return dict(itertools.islice(self.numbers.items(), 1))

    def pictures(self, keys: Sequence[str]) -> tuple[list[NDArray[np.uint8]], list[str], dict[str, str]]:
        """The pixels of those that can be read, their keys, and the reason for each of the others."""
        found, reasons = self.decoded(keys, with_metadata=False)
        return [each.pixels for each in found.values()], list(found), reasons


@dataclass(frozen=True)
class Matches:
    """Originals that were found by their pixels."""

    keys: list[str]  # of the samples
    numbers: NDArray[np.int64]  # of their originals in the source
    sha256: NDArray[np.uint8]  # (n, 32), of the originals


@dataclass(frozen=True)
class OriginalsPlace:
    """Where originals are: what another process needs to open them, and none of their pixels."""

    clean: str | None = None  # the source, where it is not the one that the ledger names
    matches: Matches | None = None
    part: Originals | None = None  # of a source that is not to be opened a second time

    def open(self, shards: Shards) -> Originals | None:
        """The originals of these shards. Raises as `find_originals`."""
        if self.part is not None:
            return self.part
        if self.matches is None:
            return find_originals(shards, self.clean)
        settings, numbers = shards.manifest["settings"], self.matches.numbers
        collection = unscanned(_source_of_any_kind(str(self.clean)), decoding_of(settings), settings["resolution"])
        collection.sha256[numbers] = self.matches.sha256
        return Originals(collection, dict(zip(self.matches.keys, numbers.tolist(), strict=True)), self.clean, True)


def opens_again(source: Source) -> bool:
    """Whether another process opens a source as soon by its name as with a list of its inputs: from files, not from a
    temporary file of this process, and not from the network twice.
    """
    return source.pixels_in_parts or source.reader() is not None


def find_originals(shards: Shards, clean: str | Path | None, only: range | None = None) -> Originals | None:
    """The originals of `shards`, or of `only` those with these numbers; None where there is neither a ledger nor a
    source to take them from.

    With a ledger, `clean` says where the source is now; without one, every published image is matched to an image of
    `clean` that differs from it by at most its noise. Raises `SourceError`, `LedgerError`.
    """
    ledger = Ledger(shards.ledger)
    run = ledger.run()
    if run:
        return _by_ledger(ledger, run, clean, only or range(shards.count))
    return _by_pixels(shards, clean, only or range(shards.count)) if clean else None


def _by_ledger(ledger: Ledger, run: Mapping[str, Any], clean: str | Path | None, only: range) -> Originals:
    numbers, published = dict[str, int](), False
    with damage(ledger.path, LedgerError):
        spec, options = clean or run["source"], SourceOptions(**run["source_options"])
        source = open_source(spec, options)
        number_of = {source.entry(number).name: number for number in range(len(source))}
        collection = unscanned(source, decoding_of(run["settings"]), run["settings"]["resolution"])
        for row in (row for shard in only for row in ledger.shard(shard)):
            published |= bool(row.key)
            if row.key and row.source in number_of:
                number = numbers[row.key] = number_of[row.source]
                collection.sha256[number] = np.frombuffer(bytes.fromhex(row.sha256 or ""), np.uint8)
    if published and not numbers:
        raise LedgerError(f"{spec} holds none of the files that {ledger.path} names; say with --clean where they are")
    return Originals(collection, numbers, str(clean) if clean else None)


def _by_pixels(shards: Shards, spec: str | Path, only: range) -> Originals:
    """Matches by nearest neighbours of small sketches; each candidate is checked pixel by pixel."""
    settings = shards.manifest["settings"]
    source = _source_of_any_kind(spec)
    collection = scan(source, decoding_of(settings), settings["resolution"])
    if shards.size and collection.size != shards.size:
        raise SourceError(f"{source.spec} holds images of another size than the shards")
    usable = collection.usable
    sketches = np.stack([_sketch(collection.pixels(number)) for number in usable.tolist()])
    means, numbers = sketches.mean(1), dict[str, int]()
    order = np.argsort(means, kind="stable")
    usable, sketches, means = usable[order], sketches[order], means[order]
    for number in shards.samples_in(only):
        try:
            with damage("it"):
                sample = shards[number]
                sketch, most = _sketch(sample.image), sample.about["linf"] + 1
                first, last = np.searchsorted(means, (sketch.mean() - most, sketch.mean() + most))  # none differs more
                nearest = np.argsort(((sketches[first:last] - sketch) ** 2).sum(1), kind="stable")[:_CANDIDATES]
                candidates = usable[first + nearest].tolist()
                matches = [number for number in candidates if _could_be_original(collection.pixels(number), sample)]
                # The same picture may be in two classes.
                match = min(
                    matches, key=lambda number: _class_of(source, number) != sample.about["class"], default=None
                )
        except ShardError:
            continue  # audit names it, and verify refuses it
        if match is not None:
            numbers[sample.key] = match
    if not numbers:
        raise SourceError(f"{source.spec} holds no original of these shards")
    return Originals(collection, numbers, str(spec), by_pixels=True)


def _source_of_any_kind(spec: str | Path) -> Source:
    try:
        return open_source(spec)
    except SourceError:  # a flat folder: labels are not needed here
        return open_source(spec, SourceOptions(labels=AUTO))


def _class_of(source: Source, number: int) -> str | None:
    label = source.entry(number).label
    return None if label is None else source.classes[label]


def _could_be_original(clean: NDArray[np.uint8], sample: Sample) -> bool:
    """Whether the noise that the sample states would lead from `clean` to it."""
    same_shape = clean.shape == sample.image.shape
    return bool(same_shape and cv2.norm(clean, sample.image, cv2.NORM_INF) <= sample.about["linf"])


def _sketch(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(picture, (_SKETCH, _SKETCH), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
