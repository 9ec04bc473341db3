"""What is on disk: pixel codec, tar, manifest, private ledger."""

from .fields import Fields
from .ledger import InputRow, Ledger, LedgerRow, ledger_path
from .manifest import ManifestContent, check_manifest, read_manifest, write_manifest
from .pixels import decode_picture, encode_pictures, picture_problem
from .reader import Sample, Shards, TarIndex, open_shards, read_tar, tar_index
from .writer import Encoded, Extra, SampleBatch, ShardStats, ShardWriter, done_stats, encode, mark_done, shard_name

__all__ = [
    "Ledger",
    "LedgerRow",
    "ManifestContent",
    "Sample",
    "SampleBatch",
    "ShardStats",
    "ShardWriter",
    "Encoded",
    "encode",
    "Shards",
    "check_manifest",
    "decode_picture",
    "done_stats",
    "encode_pictures",
    "Extra",
    "Fields",
    "InputRow",
    "ledger_path",
    "mark_done",
    "open_shards",
    "picture_problem",
    "read_manifest",
    "read_tar",
    "TarIndex",
    "tar_index",
    "shard_name",
    "write_manifest",
]
