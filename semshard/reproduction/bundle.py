"""A few files in a folder that is small enough to be carried from machine to machine.

They lie there as one xz-compressed tar, cut into parts. The index is written last: a folder holds either what was
packed last or what was packed before.
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

PART = 15 << 20  # bytes of a part, at most
_INDEX = "state.json"
# Weights are two bytes wide after a cut: what can be told of a byte depends on its place, which xz is told here.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "lp": 1, "pb": 1}]


def pack(home: Path, names: Sequence[str], folder: Path) -> int:
    """Put the files `names` below `home` into `folder`, in place of what was there; returns the bytes written."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    packed = _packed(home, names)
    digest = hashlib.sha256(packed).hexdigest()
    parts = [f"{digest[:12]}-{at // PART}.part" for at in range(0, len(packed), PART)]
    for number, name in enumerate(parts):
        with atomic_write(folder / name) as file:
            file.write(packed[number * PART : (number + 1) * PART])
    about = {"schema_version": 1, "tool": f"semshard {__version__}", "sha256": digest, "parts": parts}
    write_json(folder / _INDEX, about)
    for old in folder.glob("*.part"):
        if old.name not in parts:
            old.unlink()
    return len(packed)


def unpack(folder: Path, home: Path) -> bool:
    """Lay the files in `folder` out below `home` again; False where nothing was packed yet. Raises `LedgerError`."""
    if not (folder / _INDEX).exists():
        return False
    try:
        about = json.loads((folder / _INDEX).read_text())
        packed = b"".join((folder / name).read_bytes() for name in about["parts"])
        if hashlib.sha256(packed).hexdigest() != about["sha256"]:
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
            about = tarfile.TarInfo(name)
            data = (home / name).read_bytes()
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return lzma.compress(plain.getvalue(), filters=_FILTERS)
