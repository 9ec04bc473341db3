"""Which shards of a folder a caller means: one of several equal parts, or a range of numbers."""

from __future__ import annotations

import re

from ..errors import SettingError
from ..numbered_part import NumberedPart

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def shards_of_part(shards: int, part: str | None, only: str | None) -> range | None:
    """The numbers of the shards in part "I/N" of so many, or in "FIRST-LAST", or the one "NUMBER"; None where neither
    is given. Raises `SettingError` where there are no such shards.
    """
    if part is not None and only is not None:
        raise SettingError("give either a part or the numbers of shards")
    if part is not None:
        chosen = NumberedPart.parse(part).consecutive(shards)
        if not chosen:
            raise SettingError(f"part {part} has no shard: there are only {shards:,}")
        return chosen
    if only is None:
        return None
    found = _RANGE.fullmatch(only)
    if not found:
        raise SettingError(f"shards {only!r} are not a number or two, like 7 or 100-199")
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last < shards:
        raise SettingError(f"there are no shards {only}: they have the numbers 0 to {shards - 1:,}, smaller ones first")
    return range(first, last + 1)
