"""What the ranks of a training agree on before it starts: one source, one scan, one set of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..cores import allowed, limited
from ..engine import Ranks, Runtime
from ..launch import launch
from ..measuring.machine import describe
from ..sources import Collection, Source
from ..sources.collection import unscanned
from ..sources.decode import decoding_of
from .request import Request
from .scan import scan_source

FOUND = ("sha256", "sizes", "labels", "rejects", "classes", "notes", "duplicates")  # by a scan, of a collection


def scan_once(source: Source, request: Request, runtime: Runtime, ranks: Ranks) -> Collection:
    """`scan_source` by the first rank, on the cores of all on its machine, which wait for it. They get what it found,
    a hundred bytes per input, and decode the pictures of a batch themselves.

    Raises `SettingError` where the ranks do not see the same source.
    """
    ranks.same({"inputs in the source": len(source), "names and labels in the source": source.digest})
    own: list[Collection] = []

    def scanned() -> dict[str, Any]:
        with limited(allowed() * launch().local_size):
            own.append(scan_source(source, request, runtime))
        return {name: getattr(own[0], name) for name in FOUND}

    found = ranks.from_first(scanned)
    if own:
        return own[0]
    pictures = request.pictures()
    return replace(unscanned(source, decoding_of(pictures), pictures["resolution"]), **found)


def check_alike(ranks: Ranks, runtime: Runtime, about: Mapping[str, Any]) -> None:
    """Raise `SettingError` where a rank would train something else, or round otherwise."""
    if ranks.size == 1:
        return
    machine = describe(runtime.device)
    ranks.same({**about, **{name: machine[name] for name in ("device", "torch", "semshard")}})
