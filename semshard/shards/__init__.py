"""What is on disk: pixel codec, tar, manifest, private ledger."""

from .fields import Fields
from .ledger import REMOVED, InputRow, Ledger, LedgerRow, ledger_path
from .manifest import ADDITIONS, ManifestContent, check_manifest, manifest_of, read_manifest, write_manifest
from .pixels import decode_picture, encode_pictures, picture_problem
from .reader import Sample, Shards, open_shards, read_tar
from .writer import Encoded, Extra, SampleBatch, ShardStats, ShardWriter, done_stats, encode, mark_done, shard_name

__all__ = [
    "ADDITIONS",
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
    "manifest_of",
    "mark_done",
    "open_shards",
    "picture_problem",
    "read_manifest",
    "REMOVED",
    "read_tar",
    "shard_name",
    "write_manifest",
]
