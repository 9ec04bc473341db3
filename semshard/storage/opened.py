"""The place that a path or a URL names."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .attempts import Limits
from .local import LocalPlace
from .objects import ObjectPlace, silent
from .place import SCHEMES, Place, Remark, split_url


def open_place(where: str | Path, remark: Remark = silent, limits: Limits | None = None) -> Place:
    """The place at a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.

    `remark` hears of every request to an object store that is repeated. Nothing is read or written yet. Raises
    `UsageError` for URLs of other kinds, and where obstore is missing.
    """
    url = split_url(where)
    if url is None:
        return LocalPlace(where)
    scheme, rest = url
    if scheme not in SCHEMES:
        raise UsageError(f"{scheme}:// is not opened here; give a folder, or {', '.join(f'{s}://…' for s in SCHEMES)}")
    return ObjectPlace(f"{scheme}://{rest}", remark, limits)
