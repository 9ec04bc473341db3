"""The order in which files that belong together are published: the one that says that all are there comes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import AlreadyThere
from .place import Content, Place


@dataclass(frozen=True)
class Part:
    """A file to be published, and where."""

    place: Place
    name: str
    content: Content


def publish(parts: Sequence[Part], place: Place, mark: str, data: bytes) -> bool:
    """Write the `parts` in order, then the file `mark` with `data`, only where it is absent.

    Of a shard the parts are tar, parquet and the ledger's rows, and the mark is its stats file, which has the digests
    of the others: whoever finds the mark finds the parts. A call that ends at any moment leaves no mark, and the same
    call again completes it; several at once may write the same bytes. Returns False, and writes nothing, where the
    mark was there already. Raises `AlreadyThere`, before anything is written, where it is one of other bytes: this
    process made another shard than the one before.
    """
    try:
        if place.get(mark) != data:
            raise AlreadyThere(f"{place.url}/{mark} is of other files; these would not be the same bytes")
        return False
    except FileNotFoundError:
        pass
    for part in parts:
        part.place.put(part.name, part.content)
    return place.put_if_absent(mark, data)
