"""Writing a shard: NNNNN.tar (WebDataset), NNNNN.parquet (one row per sample), NNNNN_stats.json (the done mark).

Equal samples give equal bytes: tar headers carry mtime 0, no owner and mode 0644, in ustar format.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import atomic_write, json_bytes
from ..errors import ShardError
from ..sources.image_metadata import Metadata
from . import tar
from .fields import Fields
from .names import FEWEST, sample_key, shard_name
from .pixels import decode_picture, encode_pictures

PNG = Fields()
_BAND = 1 << 16  # values of an image that are compared at once
COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int64()),
        ("class", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("linf", pa.int32()),
        ("sha256", pa.string()),
    ]
)


@dataclass(frozen=True)
class ShardStats:
    """What a finished shard holds."""

    shard: int
    samples: int
    rejected: int  # inputs meant for this shard that were unusable by the time it was written
    bytes: int
    sha256: str  # of the tar
    parquet_bytes: int
    parquet_sha256: str
    linf_max: int  # grey levels
    psnr_mean: float  # dB


@dataclass(frozen=True)
class Encoded:
    """A sample ready to be written: the bytes of its tar entries, its row of the parquet, and its PSNR."""

    entries: bytes
    row: dict[str, object]
    psnr: float  # dB; infinite where nothing was changed

    @property
    def key(self) -> str:
        return str(self.row["key"])


@dataclass(frozen=True)
class Extra:
    """What a sample has besides its image: metadata of the file, and fields of the source's sample."""

    metadata: Metadata
    carried: Mapping[str, bytes]


@dataclass(frozen=True)
class SampleBatch:
    """Images of one shard that are encoded together, all of one size."""

    shard: int
    places: Sequence[int]  # of each image in the shard
    labels: Sequence[int]  # indices into the classes
    clean: NDArray[np.uint8]  # (N, H, W, 3) RGB; measured against, never written
    protected: NDArray[np.uint8]  # (N, H, W, 3) RGB
    extras: Sequence[Extra] | None = None
    digits: int = FEWEST  # of the numbers of the shards


def encode(batch: SampleBatch, classes: Sequence[str], fields: Fields = PNG, quality: int = 95) -> list[Encoded]:
    """The samples of a batch, ready to be written; `quality` (1 to 100) is JPEG's alone.

    Measured are the pixels that come out of the file: those of a JPEG are not exactly the protected ones. Any thread
    may call this; most of the time goes into encoding the images, where other threads can run.
    """
    protected, extras = batch.protected, batch.extras
    height, width = protected.shape[1:3]
    metadata = [extra.metadata for extra in extras] if extras and fields.keep != "none" else None
    files = encode_pictures(protected, fields.format, quality, metadata)
    if fields.format == "jpeg":
        protected = np.stack([decode_picture(data, "jpeg", fields.keep) for data in files])
    linf, errors = _differences(batch.clean, protected)
    samples = []
    for i, (place, label) in enumerate(zip(batch.places, batch.labels, strict=True)):
        key, name, sha256 = (
            sample_key(batch.shard, place, batch.digits),
            classes[label],
            hashlib.sha256(protected[i].data).hexdigest(),
        )
        about = description(name, width, height, linf[i], sha256)
        carried = {fields.published(name): data for name, data in extras[i].carried.items()} if extras else {}
        parts = (
            tar.entry(f"{key}.cls", b"%d" % label),
            tar.entry(f"{key}.{fields.about}", about),
            tar.entry(f"{key}.{fields.image}", files[i]),
            *(tar.entry(f"{key}.{extension}", carried[extension]) for extension in sorted(carried)),
        )
        psnr = 10 * math.log10(255**2 / errors[i]) if errors[i] else math.inf
        row = {
            "key": key, "label": label, "class": name, "width": width, "height": height, "linf": linf[i],
            "sha256": sha256,
        }  # fmt: skip
        samples.append(Encoded(b"".join(parts), row, psnr))
    return samples


def description(name: str, width: int, height: int, linf: int, sha256: str) -> bytes:
    """The .json of a sample: its class, its size in pixels, its noise in grey levels, the SHA-256 of its pixels."""
    measured = f'"width":{width},"height":{height},"linf":{linf},"sha256":"{sha256}"'
    return f'{{"class":{_as_json(name)},{measured}}}'.encode()


@functools.lru_cache
def _as_json(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _differences(clean: NDArray[np.uint8], protected: NDArray[np.uint8]) -> tuple[list[int], list[float]]:
    """Per image the largest change of a channel, in grey levels, and the mean of its square; in bands of rows."""
    count, height = clean.shape[:2]
    linf, squares = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    rows = max(1, _BAND // max(1, clean[0, 0].size))
    for top in range(0, height, rows):
        a, b = (pixels[:, top : top + rows].reshape(count, -1) for pixels in (clean, protected))
        change = np.maximum(a, b) - np.minimum(a, b)
        linf = np.maximum(linf, change.max(1))
        squares += np.square(change, dtype=np.uint16).sum(1, dtype=np.int64)
    return linf.tolist(), (squares / clean[0].size).tolist()


class ShardWriter:
    """A shard that is being written. Leaving the block without an error publishes the tar and the parquet; `stats`
    describes them. The shard is not done before `mark_done`.
    """

    def __init__(self, directory: Path, shard: int, digits: int = FEWEST) -> None:
        self._directory, self._shard, self._stem = directory, shard, shard_name(shard, digits)
        self._samples: list[tuple[dict[str, object], float]] = []
        self._sha256, self._bytes = hashlib.sha256(), 0
        self.rejected = 0

    def __enter__(self) -> ShardWriter:
        self._stack = ExitStack()
        self._file = self._stack.enter_context(atomic_write(self._directory / f"{self._stem}.tar"))
        return self

    def add(self, samples: Sequence[Encoded]) -> None:
        """Append samples."""
        self._write(b"".join([sample.entries for sample in samples]))
        self._samples.extend((sample.row, sample.psnr) for sample in samples)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._bytes += len(data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._write(tar.end(self._bytes))
        rows, psnrs = [row for row, _ in self._samples], [psnr for _, psnr in self._samples]
        table = table_of(rows)
        with atomic_write(self._directory / f"{self._stem}.parquet") as file:
            file.write(table)
        self.stats = stats_of(self._shard, self.rejected, self._bytes, self._sha256.hexdigest(), table, rows, psnrs)


def table_of(rows: Sequence[Mapping[str, object]]) -> bytes:
    """The parquet file of a shard with a row for each sample."""
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], COLUMNS), table)
    return table.getvalue()


def stats_of(
    shard: int,
    rejected: int,
    size: int,
    sha256: str,
    table: bytes,
    rows: Sequence[Mapping[str, object]],
    psnrs: Sequence[float],
) -> ShardStats:
    """The stats of a shard: `size` and `sha256` of the tar, its parquet file `table`, the `rows` in it, and the PSNR of
    each sample in dB.
    """
    finite = [psnr for psnr in psnrs if math.isfinite(psnr)]
    return ShardStats(
        shard=shard,
        samples=len(rows),
        rejected=rejected,
        bytes=size,
        sha256=sha256,
        parquet_bytes=len(table),
        parquet_sha256=hashlib.sha256(table).hexdigest(),
        linf_max=max((cast(int, row["linf"]) for row in rows), default=0),
        psnr_mean=round(sum(finite) / len(finite), 4) if finite else 0.0,
    )


def mark_done(directory: Path, stats: ShardStats, digits: int = FEWEST) -> None:
    """Write the stats file, last of all: the shard is done."""
    with atomic_write(directory / f"{shard_name(stats.shard, digits)}_stats.json") as file:
        file.write(stats_bytes(stats))


def stats_bytes(stats: ShardStats) -> bytes:
    """The stats file of a shard."""
    return json_bytes(asdict(stats))


def read_stats(path: Path) -> ShardStats | None:
    """What a stats file says; None where there is none. Raises `ShardError`."""
    try:
        return ShardStats(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError) as error:
        raise ShardError(f"{path} is damaged ({error}); delete it to make the shard again") from None


def done_stats(directory: Path, shard: int, digits: int = FEWEST) -> ShardStats | None:
    """The stats of a shard that is done and whose files have the sizes in them; None where it has to be made."""
    stem = directory / shard_name(shard, digits)
    stats = read_stats(Path(f"{stem}_stats.json"))
    try:
        sizes = Path(f"{stem}.tar").stat().st_size, Path(f"{stem}.parquet").stat().st_size
    except FileNotFoundError:
        return None
    return stats if stats and sizes == (stats.bytes, stats.parquet_bytes) else None
