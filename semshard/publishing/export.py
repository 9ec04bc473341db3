"""The story of export: finished shards → images as stored → files of another format → the whole folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from .._version import __version__
from ..errors import OutputError, SettingError
from ..progress import Event, Progress, Throttle, silent
from ..shards import Shards, manifest_sha256, open_shards
from ..storage import local_path
from .dali_index import DaliIndex
from .export_folder import ClassFolders
from .export_mds import MosaicShards
from .export_parquet import ParquetFiles
from .staging import Staging
from .stored import StoredImage, StoredShard, open_shard


class Format(Protocol):
    """A format of other loaders: the files of each shard, then those about all of them."""

    def write(self, shard: StoredShard, images: Iterator[StoredImage]) -> dict[str, Any]:
        """Write the files of a shard; what is returned goes into JSON, and has at least `files` and `bytes`."""

    def finish(self, parts: list[dict[str, Any]]) -> None:
        """Write what is about all shards; `parts` has what `write` returned for each, in order."""


FORMATS: dict[str, Callable[[Shards, Path], Format]] = {
    "folder": ClassFolders,
    "parquet": ParquetFiles,
    "mds": MosaicShards,
    "dali-index": DaliIndex,
}


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote."""

    out: str
    to: str
    samples: int
    shards: int
    files: int  # made of the shards; small files about all of them are not counted
    bytes: int  # of these files

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def export(shards: str | Path, out: str | Path, *, to: str, progress: Progress = silent) -> ExportResult:
    """Copy the images of a folder of finished `shards` into a new folder `out`, in the format `to` of other loaders.

    `to` is "folder" (a folder of image files for each class), "parquet" (Hugging Face, with an Image and a ClassLabel),
    "mds" (MosaicML Streaming) or "dali-index" (an index of each tar for NVIDIA DALI, which reads the tars themselves).
    The encoded image files are copied, byte for byte; one shard's index and one image are in memory at a time (for
    parquet, one row group). `out` appears when it is whole; the same call continues what was interrupted.

    Raises `SettingError` for another `to`, `OutputError` where `out` is not empty or lies in the shards, and
    `ShardError` for a shard that is missing or damaged.
    """
    if to not in FORMATS:
        raise SettingError(f"to {to!r}: choose one of {', '.join(FORMATS)}")
    out = local_path(out, "out")
    opened = open_shards(shards)
    if out.resolve().is_relative_to(opened.directory.resolve()):
        raise OutputError(f"{out} lies in the folder of the shards; choose a folder outside of it")
    _say_what_is_left_out(opened, to, progress)
    with Staging(out, {"to": to, "manifest": manifest_sha256(opened.directory), "version": __version__}) as staging:
        written = FORMATS[to](opened, staging.folder)
        report = _Report(len(opened), progress, sum(part["samples"] for part in staging.done))
        for number in range(len(staging.done), opened.count):
            shard = open_shard(opened, number)
            part = written.write(shard, report.counted(shard.images()))
            staging.add({"samples": len(shard.index), **part})
            report.at(sum(part["samples"] for part in staging.done))
        written.finish(staging.done)
        staging.publish()
    files, size = (sum(part[name] for part in staging.done) for name in ("files", "bytes"))
    return ExportResult(str(out), to, len(opened), opened.count, files, size)


def _say_what_is_left_out(shards: Shards, to: str, progress: Progress) -> None:
    if shards.fields.carried and to != "dali-index":
        names = ", ".join(shards.fields.carried)
        progress(Event("export", message=f"Only image, class and key are exported; {names} stay in the shards."))


class _Report:
    """Tells the caller how many images are done."""

    def __init__(self, total: int, progress: Progress, done: int) -> None:
        self._total, self._progress, self._done, self._due = total, progress, done, Throttle()
        self.at(done)

    def at(self, done: int) -> None:
        """All images before this one are done."""
        self._done = done
        self._progress(Event("export", done, self._total, "images"))

    def counted(self, images: Iterator[StoredImage]) -> Iterator[StoredImage]:
        """The images, and a report now and then."""
        for count, image in enumerate(images, 1):
            yield image
            if self._due():
                self._progress(Event("export", self._done + count, self._total, "images"))
