"""The list of the shards of a large collection, in files of its own beside manifest.json.

    manifest-00000.jsonl   a record of each of the first 8,192 shards, one JSON object on a line
    manifest.json          of each of these files name, counts, bytes, SHA-256 and root, and the root over all records

The root is that of a Merkle tree (`merkle`) whose leaves are the lines without their ends. 8,192 is a power of two, so
the roots of the files are nodes of the tree: with manifest.json and one of the files every record in it can be checked.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ShardError
from ..storage import Folder
from . import merkle
from .damage import damage
from .names import digits_for, shard_name, tar_name

MOST = 10_000  # shards that manifest.json lists itself
EACH = 8_192  # shards in a file, a power of two; fewer in the last
_FILE = re.compile(r"manifest-([0-9]+)\.jsonl")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COUNTS = ("samples", "bytes", "parquet_bytes", "linf_max")
_FIELDS = ("name", "samples", "bytes", "sha256", "parquet_bytes", "parquet_sha256", "linf_max", "psnr_mean")
_IN_MEMORY = 2  # files whose records are kept

Record = dict[str, Any]  # of a shard, as the schema has it
Write = Callable[[str, bytes], None]  # takes the name and the bytes of a file


def list_name(number: int) -> str:
    """The name of a file of records."""
    return f"manifest-{shard_name(number)}.jsonl"


def list_in(name: str) -> int | None:
    """The number of the file of records that has this name; None where it is none."""
    found = _FILE.fullmatch(name)
    return int(found[1]) if found and list_name(int(found[1])) == name else None


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as it is written, without the end of the line: the bytes of a leaf."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()


def list_files(records: Iterable[Record], write: Write) -> dict[str, Any]:
    """What manifest.json says of the files of records, each of which is handed to `write`; one is in memory at once."""
    every, files = iter(records), list[dict[str, Any]]()
    while some := list(itertools.islice(every, EACH)):
        lines = [line_of(record) for record in some]
        data = b"".join(line + b"\n" for line in lines)
        name = list_name(len(files))
        write(name, data)
        files.append(
            {
                "name": name,
                "shards": len(lines),
                "samples": sum(record["samples"] for record in some),
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "root": merkle.root(map(merkle.leaf, lines)).hex(),
            }
        )
    return {"each": EACH, "root": merkle.root(_roots(files)).hex(), "files": files}


def _roots(files: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [bytes.fromhex(file["root"]) for file in files]


class ShardRecords(Sequence[Record]):
    """The records of all shards, read file by file as they are asked for. Raises `ShardError` where a file is missing,
    or is not the one that manifest.json names. Picklable.
    """

    def __init__(self, folder: Folder, lists: Mapping[str, Any]) -> None:
        self._folder, self._each, self._root = folder, int(lists["each"]), bytes.fromhex(lists["root"])
        self.files: list[dict[str, Any]] = list(lists["files"])
        self._ends = list(itertools.accumulate(file["shards"] for file in self.files))
        self._samples = list(itertools.accumulate(file["samples"] for file in self.files))
        self._digits, self._kept = digits_for(len(self)), dict[int, tuple[list[Record], list[int]]]()
        self._leaves = dict[int, list[bytes]]()  # of the file that was asked for last
        if self._each < 1 or any(end != min((at + 1) * self._each, len(self)) for at, end in enumerate(self._ends)):
            where = f"{folder.place.url}/manifest.json"
            raise ShardError(f"{where}: its files of records have other counts than {self._each}")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}, "_leaves": {}}

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        number = number + len(self) if number < 0 else number
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._kept_of(number // self._each)[0][number % self._each]

    def __iter__(self) -> Iterator[Record]:
        for number in range(len(self.files)):
            yield from self.read(number)

    def locate(self, sample: int) -> tuple[int, int]:
        """The shard that holds a sample, counted over all shards, and its place there."""
        number = bisect.bisect_right(self._samples, sample)
        place = sample - (self._samples[number - 1] if number else 0)
        starts = self._kept_of(number)[1]
        inside = bisect.bisect_right(starts, place) - 1
        return number * self._each + inside, place - starts[inside]

    def files_of(self, shards: range) -> range:
        """The numbers of the files that have the records of neighbouring shards."""
        return range(shards.start // self._each, -(-shards.stop // self._each) if shards else 0)

    def read(self, number: int) -> list[Record]:
        """The records in one file."""
        lines, first = self._lines(number), number * self._each
        with damage(self._path(number)):
            return [self._record(line, first + place) for place, line in enumerate(lines)]

    def proves(self, shard: int) -> bool:
        """Whether the record of a shard, as its file has it, leads to the root in manifest.json."""
        number, place = divmod(shard, self._each)
        leaves = self._leaves.get(number)
        if leaves is None:
            self._leaves = {number: (leaves := [merkle.leaf(line) for line in self._lines(number)])}
        path = merkle.proof(leaves, place) + merkle.proof(_roots(self.files), number)
        return merkle.leads_to(leaves[place], shard, len(self), path, self._root)

    def _kept_of(self, number: int) -> tuple[list[Record], list[int]]:
        """The records in one file, and the number of the first sample of each, counted over the file."""
        kept = self._kept.get(number)
        if kept is None:
            records = self.read(number)
            kept = records, list(itertools.accumulate((record["samples"] for record in records), initial=0))
            while len(self._kept) >= _IN_MEMORY:
                self._kept.pop(next(iter(self._kept), number), None)
            self._kept[number] = kept
        return kept

    def _lines(self, number: int) -> list[bytes]:
        about, name, path = self.files[number], list_name(number), self._path(number)
        with damage(path):
            data = self._folder.read(name)
        if about["name"] != name or hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise ShardError(f"{path} is not the file that manifest.json names")
        lines = data.split(b"\n")
        if lines.pop() or len(lines) != about["shards"]:
            raise ShardError(f"{path} has not the {about['shards']} records that manifest.json counts")
        return lines

    def _record(self, line: bytes, shard: int) -> Record:
        record = json.loads(line)
        if not _is_record(record) or record["name"] != tar_name(shard, self._digits) or line_of(record) != line:
            path = self._path(shard // self._each)
            raise ShardError(f"{path}: the record of shard {shard} is not what semshard writes")
        return dict(record)

    def _path(self, number: int) -> str:
        """What messages call a file."""
        return f"{self._folder.place.url}/{list_name(number)}"


def _is_record(value: Any) -> bool:
    """What the schema says of a record; a million of them are checked in seconds."""
    return (
        type(value) is dict
        and tuple(value) == _FIELDS
        and all(type(value[name]) is int and value[name] >= 0 for name in _COUNTS)
        and all(type(value[n]) is str and _SHA256.fullmatch(value[n]) for n in ("sha256", "parquet_sha256"))
        and type(value["psnr_mean"]) in (int, float)
    )
