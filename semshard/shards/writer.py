"""Writing a shard: NNNNN.tar (WebDataset), NNNNN.parquet (one row per sample), NNNNN_stats.json (the done mark).

Equal samples give equal bytes: tar headers carry mtime 0, no owner and mode 0644, in ustar format.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..atomic import atomic_write, write_json
from ..errors import ShardError
from .pixels import encode_png

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


def shard_name(shard: int) -> str:
    """The stem of a shard's files."""
    return f"{shard:05d}"


def sample_key(shard: int, place: int) -> str:
    """SSSSSIIIII: the shard and the place of the sample in it; no dots, no slashes, unique over all shards."""
    return f"{shard:05d}{place:05d}"


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


class ShardWriter:
    """A shard under construction. Leaving the block well publishes the tar and the parquet; `stats` says what they are.

    The shard is not done before `mark_done`.
    """

    def __init__(self, directory: Path, shard: int, classes: tuple[str, ...]) -> None:
        self._directory, self._shard, self._classes = directory, shard, classes
        self._rows: list[dict[str, object]] = []
        self._psnr: list[float] = []
        self._linf: list[int] = []
        self.rejected = 0

    def __enter__(self) -> ShardWriter:
        self._stack = ExitStack()
        file = self._stack.enter_context(atomic_write(self._directory / f"{shard_name(self._shard)}.tar"))
        self._file = _Counted(file)
        self._tar = tarfile.open(fileobj=cast(IO[bytes], self._file), mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def add(self, place: int, clean: NDArray[np.uint8], protected: NDArray[np.uint8], label: int) -> str:
        """One sample, uint8 (H, W, 3) RGB twice; returns its key. `clean` is measured against, never written."""
        key = sample_key(self._shard, place)
        noise = protected.astype(np.int16) - clean
        height, width = protected.shape[:2]
        linf = int(np.abs(noise).max())
        about = {
            "class": self._classes[label],
            "width": width,
            "height": height,
            "linf": linf,
            "sha256": hashlib.sha256(protected.tobytes()).hexdigest(),
        }
        self._entry(f"{key}.cls", str(label).encode())
        self._entry(f"{key}.json", json.dumps(about, separators=(",", ":"), ensure_ascii=False).encode())
        self._entry(f"{key}.png", encode_png(protected))
        self._linf.append(linf)
        self._rows.append({"key": key, "label": label, **about})
        error = float((noise.astype(np.float64) ** 2).mean())
        self._psnr.append(10 * math.log10(255**2 / error) if error else math.inf)
        return key

    def _entry(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._tar.close()
        table = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(self._rows, COLUMNS), table)
        with atomic_write(self._directory / f"{shard_name(self._shard)}.parquet") as file:
            file.write(table.getvalue())
        finite = [value for value in self._psnr if math.isfinite(value)]
        self.stats = ShardStats(
            shard=self._shard,
            samples=len(self._rows),
            rejected=self.rejected,
            bytes=self._file.count,
            sha256=self._file.sha256.hexdigest(),
            parquet_bytes=table.tell(),
            parquet_sha256=hashlib.sha256(table.getvalue()).hexdigest(),
            linf_max=max(self._linf, default=0),
            psnr_mean=round(sum(finite) / len(finite), 4) if finite else 0.0,
        )


class _Counted:
    """A file that hashes and counts what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sha256, self.count = file, hashlib.sha256(), 0

    def tell(self) -> int:
        return self.count

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.count += len(data)
        return self._file.write(data)


def mark_done(directory: Path, stats: ShardStats) -> None:
    """Write the stats file, last of all: the shard is done."""
    write_json(directory / f"{shard_name(stats.shard)}_stats.json", asdict(stats))


def done_stats(directory: Path, shard: int) -> ShardStats | None:
    """The stats of a shard that is done and whose files have the sizes they say; None where it has to be made."""
    stem = directory / shard_name(shard)
    try:
        stats = ShardStats(**json.loads(Path(f"{stem}_stats.json").read_bytes()))
        sizes = Path(f"{stem}.tar").stat().st_size, Path(f"{stem}.parquet").stat().st_size
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ShardError(f"{stem}_stats.json is damaged ({error}); delete it to have the shard made again") from None
    return stats if sizes == (stats.bytes, stats.parquet_bytes) else None
