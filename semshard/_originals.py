"""The clean originals of published samples: by the ledger, by a source given instead, or by looking alike.

Verifying, auditing and previewing all need them, and none of them may take them from the public folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import LedgerError, SourceError
from .shards import Ledger, Shards, ledger_path
from .sources import Collection, open_source, scan

_SKETCH = 8  # sketches for matching are 8 × 8 means


@dataclass
class Originals:
    """Clean images by the key of their protected sample."""

    collection: Collection
    numbers: dict[str, int]  # key → number in the collection

    def stack(self, keys: Sequence[str]) -> tuple[NDArray[np.uint8], list[str], dict[str, str]]:
        """uint8 (n, H, W, 3) of those `keys` whose originals can be had, which these are, why not the others."""
        known = [key for key in keys if key in self.numbers]
        wanted = np.unique(np.array([self.numbers[key] for key in known], np.int64))  # twins share an original
        pixels, kept, rejects = self.collection.stack(wanted)
        place = {number: index for index, number in enumerate(kept.tolist())}
        found = [key for key in known if self.numbers[key] in place]
        missing = {key: "no original is known for it" for key in keys if key not in self.numbers}
        missing |= {key: f"its original {rejects[n]}" for key in known if (n := self.numbers[key]) in rejects}
        return pixels[[place[self.numbers[key]] for key in found]], found, missing


def find_originals(shards: Shards, clean: str | Path | None) -> Originals | None:
    """The originals of `shards`; None where there is neither a ledger nor a source to take them from.

    With a ledger, `clean` says where the source lies now; without one, every published image is matched to the image
    of `clean` that it differs from by no more than the budget. Raises `SourceError`, `LedgerError`.
    """
    ledger = Ledger(ledger_path(shards.directory))
    run = ledger.run()
    if run:
        return _by_ledger(shards, ledger, str(clean or run["source"]))
    return _by_pixels(shards, clean) if clean else None


def _by_ledger(shards: Shards, ledger: Ledger, spec: str) -> Originals:
    source = open_source(spec)
    found = {source.entry(number).name: number for number in range(len(source))}
    numbers: dict[str, int] = {}
    sha256: list[str | None] = [None] * len(source)
    for row in ledger.samples(len(shards.tars)):
        if row.key and row.source in found:
            numbers[row.key] = found[row.source]
            sha256[numbers[row.key]] = row.sha256
    if not numbers:
        raise LedgerError(f"{spec} holds none of the files that {ledger.path} names; say with --clean where they are")
    return Originals(Collection(source, shards.manifest["settings"]["resolution"], _size(shards), sha256, {}), numbers)


def _by_pixels(shards: Shards, spec: str | Path) -> Originals:
    """Nearest neighbours of small sketches, each candidate checked pixel by pixel."""
    source = open_source(spec)
    collection = scan(source, shards.manifest["settings"]["resolution"])
    if collection.size != _size(shards):
        raise SourceError(f"{source.spec} holds images of another size than the shards")
    usable = collection.usable
    clean, _, _ = collection.stack(usable)
    sketches = np.stack([_sketch(picture) for picture in clean])
    numbers = {}
    for sample in shards:
        near = np.argsort(((sketches - _sketch(sample.image)) ** 2).sum(1))[:8]
        for candidate in near.tolist():
            if np.abs(clean[candidate].astype(np.int16) - sample.image).max() <= shards.budget:
                numbers[sample.key] = int(usable[candidate])
                break
    if not numbers:
        raise SourceError(f"{source.spec} holds no original of these shards")
    return Originals(collection, numbers)


def _sketch(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.resize(picture, (_SKETCH, _SKETCH), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()


def _size(shards: Shards) -> tuple[int, int]:
    image = shards.manifest["image"]
    return image["height"], image["width"]
