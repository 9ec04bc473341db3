"""Shards as Parquet files of Hugging Face `datasets`: `load_dataset(FOLDER)` gives pictures and named classes.

An Image is stored as a struct of the file's bytes and its name; the features are named in the schema's metadata under
`huggingface`, as `datasets` itself writes them. The files are named by the Hub's pattern for the split `train`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic import atomic_write
from ..shards import Shards, digits_for, shard_name
from .stored import StoredImage, StoredShard

_ROWS, _BYTES = 1000, 32 << 20  # of a row group, which is what a reader has in memory


class ParquetFiles:
    """train-NNNNN-of-MMMMM.parquet for NNNNN.tar, with the columns image, label and key."""

    def __init__(self, shards: Shards, folder: Path) -> None:
        self._folder, self._shards = folder, shards.count
        features = {
            "image": {"_type": "Image"},
            "label": {"names": list(shards.classes), "_type": "ClassLabel"},
            "key": {"dtype": "string", "_type": "Value"},
        }
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        self._schema = pa.schema(
            [("image", image), ("label", pa.int64()), ("key", pa.string())],
            {"huggingface": json.dumps({"info": {"features": features}})},
        )

    def write(self, shard: StoredShard, images: Iterator[StoredImage]) -> dict[str, Any]:
        """The images of a shard, a row each."""
        digits = digits_for(self._shards + 1)
        number, all_of_them = (shard_name(each, digits) for each in (shard.number, self._shards))
        path = self._folder / f"train-{number}-of-{all_of_them}.parquet"
        with (
            atomic_write(path) as file,
            pq.ParquetWriter(file, self._schema, compression="none", use_dictionary=False) as table,
        ):
            for group in _row_groups(images):
                rows = [
                    {
                        "image": {"bytes": each.image, "path": f"{each.key}.{shard.extension}"},
                        "label": each.label,
                        "key": each.key,
                    }
                    for each in group
                ]
                table.write_table(pa.Table.from_pylist(rows, self._schema), row_group_size=len(rows))
        return {"files": 1, "bytes": path.stat().st_size}

    def finish(self, parts: list[dict[str, Any]]) -> None:
        """There is nothing about all files: each has the features."""


def _row_groups(images: Iterator[StoredImage]) -> Iterator[list[StoredImage]]:
    group: list[StoredImage] = []
    size = 0
    for each in images:
        group.append(each)
        size += len(each.image)
        if len(group) == _ROWS or size >= _BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
