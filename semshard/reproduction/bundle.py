"""A few files in a folder that is small enough to be carried from machine to machine.

They are one xz-compressed tar, split into parts. The index is written last: a folder holds either what was packed last
or what was packed before.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ..atomic import atomic_write, write_json
from ..errors import LedgerError

PART_BYTES = 15 << 20  # of a part, at most
_INDEX = "state.json"
# Rounded weights are two bytes wide: a byte is predicted from its place in the pair, so xz gets the width.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lp": 1, "pb": 1}]


def pack(home: Path, names: Sequence[str], folder: Path, part_bytes: int = PART_BYTES) -> int:
    """Put the files `names` below `home` into `folder`, in place of what was there; returns the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    packed = _packed(home, names)
    digest = hashlib.sha256(packed).hexdigest()
    parts = [f"{digest[:12]}-{at // part_bytes}.part" for at in range(0, len(packed), part_bytes)]
    for number, name in enumerate(parts):
        with atomic_write(folder / name) as file:
            file.write(packed[number * part_bytes : (number + 1) * part_bytes])
    index = {"schema_version": 1, "tool": f"semshard {__version__}", "sha256": digest, "parts": parts}
    write_json(folder / _INDEX, index)
    for old in folder.glob("*.part"):
        if old.name not in parts:
            old.unlink()
    return len(packed)


def unpack(folder: Path, home: Path) -> bool:
    """Write the files in `folder` below `home` again; False where nothing was packed yet. Raises `LedgerError`."""
    if not (folder / _INDEX).exists():
        return False
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        packed = b"".join((folder / name).read_bytes() for name in index["parts"])
        if hashlib.sha256(packed).hexdigest() != index["sha256"]:
            raise LedgerError(f"{folder} is damaged: its parts do not have the digest that {_INDEX} names")
        home.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed))) as tar:
            tar.extractall(home, filter="data")
    except (OSError, ValueError, KeyError, lzma.LZMAError, tarfile.TarError) as error:
        raise LedgerError(f"{folder} holds no state that semshard packed ({error})") from None
    return True


def _packed(home: Path, names: Sequence[str]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(names):
            entry = tarfile.TarInfo(name)
            data = (home / name).read_bytes()
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return lzma.compress(plain.getvalue(), filters=_FILTERS)
