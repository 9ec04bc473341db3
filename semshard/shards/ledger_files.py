"""The names of a ledger's files, in a place where somebody else may have put files beside them."""

from __future__ import annotations

import re

from .index import SCAN

_BLOCK = re.compile(rf"{SCAN}/[0-9]+\.parquet")
_UNFINISHED_NETWORK = re.compile(r"(checkpoint|surrogate\.pushes)\.safetensors")
_OTHER = re.compile(
    r"(run|index|parts|published)\.json|rejects\.jsonl|sources\.parquet|lock|surrogate\.safetensors"
    r"|(index|plan)/[0-9]+(\.[0-9]+)?\.parquet|[0-9]{5,}\.parquet"
)


def is_scan_block(name: str) -> bool:
    """Whether it is a finished block of a scan."""
    return bool(_BLOCK.fullmatch(name))


def is_unfinished_network(name: str) -> bool:
    """Whether it is what a training of the surrogate goes on from."""
    return bool(_UNFINISHED_NETWORK.fullmatch(name))


def is_ledger_file(name: str) -> bool:
    """Whether a ledger can have a file of this name, relative to its folder."""
    return is_scan_block(name) or is_unfinished_network(name) or bool(_OTHER.fullmatch(name))


def is_needed_to_read(name: str) -> bool:
    """Whether it is a file of a ledger that those read who compare shards with it: all but its networks."""
    return is_ledger_file(name) and not name.endswith(".safetensors")
