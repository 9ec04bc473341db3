"""One of several equal parts of the shards of a run: "2/8", the second of eight."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import SettingError

_FORM = re.compile("([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class NumberedPart:
    """Part `number` of `count`, counted from 1. Of `every_nth` and of `consecutive` shards, each shard is in exactly
    one part, and the parts differ in size by one shard at most.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str, forms: str = "") -> NumberedPart:
        """The part that "2/8" means. Raises `SettingError` where the text is something else; `forms` are further ones
        that it names.
        """
        found = _FORM.fullmatch(text)
        part = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not part.is_valid:
            raise SettingError(f"{text!r} is not a valid part; write I/N with I from 1 to N{forms}")
        return part

    @property
    def is_valid(self) -> bool:
        return 1 <= self.number <= self.count

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def every_nth(self, shards: int) -> range:
        """Of so many shards every `count`-th: also where the last shards of a run are the ones that are missing, all
        parts have as many of them to make, give or take one.
        """
        return range(self.number - 1, shards, self.count)

    def consecutive(self, shards: int) -> range:
        """Of so many shards those that follow each other, so that a part needs few of the files that list shards."""
        return range((self.number - 1) * shards // self.count, self.number * shards // self.count)
