"""The names of shards and the keys of samples: the one place where they are made and taken apart.

    shard 7                00007.tar   00007.parquet   00007_stats.json
    its third sample       0000700002: the shard, then the place in it

The number of a shard has five digits, and more only in a run of more than 100,000 shards; every name of a run has as
many, so that names sort as numbers do. How many follows from the number of shards: a run that was given more images
later keeps its digits, because `check_room` refuses to add what would need another one.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import OutputError
from ..settings import MOST_IN_SHARD

FEWEST = 5  # digits of a shard's number
PLACE = len(str(MOST_IN_SHARD - 1))  # digits of the place in a shard
_FILE = re.compile(r"([0-9]+)(\.tar|\.parquet|_stats\.json)")


def digits_for(shards: int) -> int:
    """How many digits the numbers of so many planned shards have."""
    return max(FEWEST, len(str(shards - 1)))


def shard_name(shard: int, digits: int = FEWEST) -> str:
    """The stem of a shard's files. Raises `ValueError` where its number has more digits."""
    name = f"{shard:0{digits}d}"
    if len(name) != digits or shard < 0:
        raise ValueError(f"shard {shard} has no name of {digits} digits")
    return name


def tar_name(shard: int, digits: int = FEWEST) -> str:
    """The name of a shard's tar."""
    return f"{shard_name(shard, digits)}.tar"


def pattern_of(shards: int) -> str:
    """The names of all tars of so many shards, as webdataset takes them: {00000..00009}.tar."""
    digits = digits_for(shards)
    if shards > 1:
        return f"{{{shard_name(0, digits)}..{shard_name(shards - 1, digits)}}}.tar"
    return tar_name(0) if shards else ""


def sample_key(shard: int, place: int, digits: int = FEWEST) -> str:
    """The digits of the shard, then five of the place in it; no dots, no slashes, unique over all shards."""
    return f"{shard_name(shard, digits)}{place:0{PLACE}d}"


def shard_in(name: str) -> int | None:
    """The number of the shard that has a file of this name; None where it is the name of no shard's file."""
    found = _FILE.fullmatch(name)
    return int(found[1]) if found and len(found[1]) >= FEWEST else None


def is_key(text: str, stem: str) -> bool:
    """Whether it is the key of a sample in the shard whose files have that stem."""
    place = text[len(stem) :]
    return text.startswith(stem) and len(place) == PLACE and place.isascii() and place.isdigit()


def code_of(key: str) -> int:
    """A key as a number, which sorts as the key does: the shard times `MOST_IN_SHARD`, plus the place."""
    return int(key)


def key_of(code: int, digits: int = FEWEST) -> str:
    """The key that `code_of` gives this number."""
    return sample_key(*divmod(code, MOST_IN_SHARD), digits)


def tar_of(code: int, digits: int = FEWEST) -> str:
    """The name of the tar that holds the key of this number."""
    return tar_name(code // MOST_IN_SHARD, digits)


def check_room(out: Path, shards: int, more: int) -> None:
    """Raise `OutputError` where a run of so many shards has no names for `more`."""
    digits = digits_for(shards)
    if digits_for(shards + more) > digits:
        raise OutputError(
            f"{out} has names of {digits} digits, for {10**digits:,} shards, and would get {shards + more:,}; protect "
            "the new images into another --out, with the same --surrogate"
        )
