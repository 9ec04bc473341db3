"""What is on disk: pixel codec, tar, manifest, private ledger."""

from .blocks import metadata_in
from .damage import damage
from .fields import Fields, metadata_blocks
from .input_row import REMOVED, InputRow, was_removed
from .ledger import Ledger, LedgerRow, ledger_path
from .manifest import (
    ADDITIONS,
    CARD_REVISION,
    ManifestContent,
    check_manifest,
    manifest_bytes,
    manifest_of,
    manifest_sha256,
    read_manifest,
    write_manifest,
)
from .pixels import decode_picture, encode_pictures, picture_problem
from .reader import Sample, Shards, TarIndex, files_of, open_shards, read_tar, tar_index
from .writer import (
    Encoded,
    Extra,
    SampleBatch,
    ShardStats,
    ShardWriter,
    description,
    done_stats,
    encode,
    mark_done,
    shard_name,
    stats_bytes,
)

__all__ = [
    "ADDITIONS",
    "CARD_REVISION",
    "Ledger",
    "LedgerRow",
    "ManifestContent",
    "Sample",
    "SampleBatch",
    "ShardStats",
    "ShardWriter",
    "Encoded",
    "description",
    "encode",
    "Shards",
    "check_manifest",
    "damage",
    "decode_picture",
    "done_stats",
    "encode_pictures",
    "Extra",
    "Fields",
    "InputRow",
    "files_of",
    "ledger_path",
    "manifest_bytes",
    "manifest_of",
    "manifest_sha256",
    "mark_done",
    "metadata_blocks",
    "metadata_in",
    "open_shards",
    "picture_problem",
    "read_manifest",
    "REMOVED",
    "read_tar",
    "TarIndex",
    "tar_index",
    "shard_name",
    "stats_bytes",
    "was_removed",
    "write_manifest",
]
