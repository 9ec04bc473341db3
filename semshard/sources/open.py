"""One function that opens any source."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import SourceError
from .folder import Folder
from .source import Source


def open_source(spec: str | Path) -> Source:
    """The source that `spec` names: a folder of class folders, or "shapes:N" for N drawn pictures.

    Raises `SourceError` where there is none.
    """
    text = str(spec)
    if text.startswith("shapes:"):
        from .shapes import Shapes

        count = re.fullmatch(r"shapes:([1-9][0-9]{0,8})", text)
        if not count:
            raise SourceError(f"{text!r} is no number of shapes; write it like shapes:2000")
        return Shapes(int(count[1]))
    return Folder(Path(text))
