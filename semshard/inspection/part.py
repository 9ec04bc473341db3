"""A part of the shards of a folder, by what a caller says: one of several equal parts, or a range of numbers."""

from __future__ import annotations

import re

from ..errors import SettingError

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def shards_of_part(shards: int, part: str | None, only: str | None) -> range | None:
    """The numbers of the shards in part "I/N" of so many, or in "FIRST-LAST", or the one "NUMBER"; None where neither
    is given. Raises `SettingError` where there are no such shards.
    """
    if part is not None and only is not None:
        raise SettingError("give either a part or the numbers of shards")
    if part is not None:
        found = _PART.fullmatch(part)
        number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= parts:
            raise SettingError(f"part {part!r} is not I/N with I from 1 to N, like 3/8")
        chosen = range((number - 1) * shards // parts, number * shards // parts)
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
