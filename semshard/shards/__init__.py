"""What lies on disk: pixel codec, tar, manifest, private ledger."""

from .ledger import Ledger, LedgerRow, ledger_path
from .manifest import check_manifest, read_manifest, write_manifest
from .pixels import decode_png, encode_png, png_problem
from .reader import Sample, Shards, open_shards, read_tar
from .writer import Encoded, ShardStats, ShardWriter, done_stats, encode, mark_done, shard_name

__all__ = [
    "Ledger",
    "LedgerRow",
    "Sample",
    "ShardStats",
    "ShardWriter",
    "Encoded",
    "encode",
    "Shards",
    "check_manifest",
    "decode_png",
    "done_stats",
    "encode_png",
    "ledger_path",
    "mark_done",
    "open_shards",
    "png_problem",
    "read_manifest",
    "read_tar",
    "shard_name",
    "write_manifest",
]
