"""An output and its source do not lie inside each other, on a disk or on an object store."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import OutputError
from ..sources import Source
from ..storage import is_remote

_IN_SOURCE = "--out {out} lies inside the source; the shards would become its images"
_IN_OUTPUT = "--out {out} contains the source, which must not be published"


def refuse_nesting(source: Source, out: str | Path) -> None:
    """Raise `OutputError` where one of source and output, a folder or a URL, lies inside the other."""
    if is_remote(out):
        refuse_nesting_in_store(source.spec, str(out))
        return
    target = os.path.realpath(out)
    for folder in map(os.path.realpath, source.folders):
        if source.shards is not None and folder != target:
            continue  # its tars are named one by one: others beside them do not become its images
        if Path(target).is_relative_to(folder):
            raise OutputError(_IN_SOURCE.format(out=out))
        if Path(folder).is_relative_to(target):
            raise OutputError(_IN_OUTPUT.format(out=out))


def refuse_nesting_in_store(spec: str, url: str) -> None:
    """The same by what a command says of its source: a pattern of tars counts as what is before its first brace."""
    at, target = spec.find(url.partition(":")[0] + "://"), url.rstrip("/") + "/"
    if at < 0:
        return
    is_pattern, folder = "{" in spec, spec[at:].partition("{")[0].rstrip("/") + "/"
    if target.startswith(folder) and not is_pattern:
        raise OutputError(_IN_SOURCE.format(out=url))
    if folder.startswith(target):
        raise OutputError(_IN_OUTPUT.format(out=url))
