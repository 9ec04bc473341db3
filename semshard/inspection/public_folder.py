"""The public folder as a whole: the files that belong there, and nothing private."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..publishing import FILES as DESCRIPTION
from ..shards import ShardRecords, Shards, files_of, list_in, shard_in, shard_name
from ..signing import FILE as SIGNATURE
from .failure import Failure

_OWN = ("manifest.json", SIGNATURE)
_OPTIONAL = {*DESCRIPTION, SIGNATURE}
_OF_HOSTS = {".gitattributes", ".git", ".cache"}  # what the Hub and its tools put into every copy
WHOLE_FOLDER = ("manifest.json", *sorted(_OPTIONAL))  # files that do not belong to a shard
_PATH = re.compile(r"(^|[\s\"'=])(/[^/\s]+/|[A-Za-z]:\\)")
_SUFFIXES = (".tar", ".parquet", "_stats.json")  # of the files of a shard


def public_folder(shards: Shards) -> Iterator[Failure]:
    """Files that are missing or too many, or are none, and paths in the manifest."""
    others, strange = dict.fromkeys(sorted({"manifest.json", *_lists(shards)}), False), set[str]()
    present, broken = np.zeros((shards.count, len(_SUFFIXES)), bool), set[str]()
    of_shards = _names(shards)
    for name, plain in shards.files.listed():
        place = of_shards(name)
        if place is not None:
            present[place] = True
        elif name in others:
            others[name] = True
        elif name.partition("/")[0] in _OF_HOSTS:
            continue
        elif name not in _OPTIONAL:
            strange.add(name)
            continue
        if not plain:
            broken.add(name)
    for name in sorted(strange):
        known = shard_in(name) is not None or list_in(name) is not None or name in _OWN
        yield Failure(name, "", f"does not belong in {'these shards' if known else 'a public folder'}")
    missing = [files_of(shards.tar(shard))[kind].name for shard, kind in np.argwhere(~present).tolist()]
    for name in sorted([*missing, *(name for name, there in others.items() if not there)]):
        yield Failure(name, "", "is missing")
    for name in sorted(broken):
        yield Failure(name, "", "is not a plain file")
    yield from _paths(shards)


def files_of_part(shards: Shards, part: range) -> Iterator[Failure]:
    """The same of the files of some shards alone."""
    for shard in part:
        for path in files_of(shards.tar(shard)):
            plain = shards.files.is_plain(path.name)
            if not plain:
                yield Failure(path.name, "", "is missing" if plain is None else "is not a plain file")
    yield from _paths(shards)


def _lists(shards: Shards) -> list[str]:
    """The files that list the shards."""
    return [file["name"] for file in shards.records.files] if isinstance(shards.records, ShardRecords) else []


def _names(shards: Shards) -> Callable[[str], tuple[int, int] | None]:
    """A function from the name of a file to its shard and its place in `_SUFFIXES`; None for other files."""
    if isinstance(shards.records, ShardRecords):
        digits, count = shards.digits, shards.count

        def place(name: str) -> tuple[int, int] | None:
            shard = shard_in(name)
            if shard is None or shard >= count or not name.startswith(shard_name(shard, digits)):
                return None
            return shard, _SUFFIXES.index(name[digits:])

        return place
    listed = {
        path.name: (shard, kind) for shard, tar in enumerate(shards.tars) for kind, path in enumerate(files_of(tar))
    }
    return listed.get


def _paths(shards: Shards) -> Iterator[Failure]:
    own = {name: value for name, value in shards.manifest.items() if name not in ("shards", "classes")}
    for text in _strings(own):  # a class may be called /m/01g317
        if _PATH.search(text):
            yield Failure("manifest.json", "", f"holds a path: {text!r}")


def is_plain(path: Path) -> bool:
    """Whether it is a file: no folder, no link to somewhere else, no pipe that would be waited for."""
    return path.is_file() and not path.is_symlink()


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, but the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
