"""What a reproduction has done: figures of cells, parts of the work with their seconds, and their machines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._version import __version__
from ..atomic import write_json
from ..digests import sha256_of
from ..engine import Runtime
from ..errors import LedgerError
from ..measuring.ceilings import matrix_product, memory_copy
from ..measuring.cost import Work
from ..measuring.machine import describe
from ..settings import fingerprint
from .plan import WorkItem

SCHEMA_VERSION = 1
_REPEATS = 3
_SECTIONS = ("machines", "digests", "parts", "cells")


@dataclass
class Journal:
    """A JSON file, written whenever something is added.

    A file of another schema version is refused: figures that took hours are never replaced silently.
    """

    path: Path
    runtime: Runtime
    _content: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in _SECTIONS})
    _this_machine: str = ""

    @classmethod
    def open(cls, path: Path, runtime: Runtime) -> Journal:
        """The journal in the file `path`, empty where there is none. Raises `LedgerError` for any other file."""
        return cls(path, runtime, _read(path)) if path.exists() else cls(path, runtime)

    def cell(self, key: str) -> dict[str, Any] | None:
        """The figures of a cell; None where there are none yet."""
        return self._content["cells"].get(key)

    def add_cell(self, key: str, figures: dict[str, Any]) -> None:
        """Keep the figures of a cell."""
        self._content["cells"][key] = figures
        self._write()

    @contextmanager
    def timed(self, item: WorkItem) -> Iterator[None]:
        """Time a part of the work. Its operations and bytes count where it ends well, its seconds in any case."""
        start, done = time.perf_counter(), Work()
        try:
            yield
            done = item.work
        finally:
            self.add_work(WorkItem(item.key, item.label, done), time.perf_counter() - start)

    def add_work(self, item: WorkItem, seconds: float) -> None:
        """Add what was done of a part of the work on this machine."""
        before = self._content["parts"].get(item.key, {"seconds": 0.0, "flop": 0.0, "bytes": 0.0})
        self._content["parts"][item.key] = {
            "part": item.label,
            "seconds": round(before["seconds"] + seconds, 1),
            "flop": before["flop"] + item.work.flop,
            "bytes": before["bytes"] + item.work.bytes,
            "machine": self._machine(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        self._write()

    def parts(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Those parts that were begun, each with its rate and this rate's share of a matrix product's."""
        begun = []
        for part in (self._content["parts"][key] for key in keys if key in self._content["parts"]):
            rate = part["flop"] / part["seconds"] if part["seconds"] else 0.0
            share = rate / self.machines[part["machine"]]["matrix_product"]
            begun.append({**part, "flop_per_second": round(rate), "share": round(share, 4)})
        return begun

    def add_digest(self, key: str, path: Path) -> None:
        """Keep the SHA-256 of a file that may not stay."""
        self._content["digests"][key] = sha256_of(path)
        self._write()

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 in hex, by the key of the part that made the file."""
        return self._content["digests"]

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        """By name: hardware, versions, and the measured rates of a matrix product and of a copy."""
        return self._content["machines"]

    def _machine(self) -> str:
        """The name of this machine, which is measured once."""
        if not self._this_machine:
            hardware = describe(self.runtime.device)
            self._this_machine = f"{hardware['device']}, {fingerprint(hardware)[:6]}"
            if self._this_machine not in self.machines:
                product, copy = rates(self.runtime)
                self.machines[self._this_machine] = hardware | {"matrix_product": product, "memory_copy": copy}
        return self._this_machine

    def _write(self) -> None:
        write_json(self.path, {"schema_version": SCHEMA_VERSION, "tool": f"semshard {__version__}", **self._content})


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The sections of a journal's file. Raises `LedgerError`."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise LedgerError(f"{path} is not valid JSON ({error}); delete it to start again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has schema version {version}, this semshard reads {SCHEMA_VERSION}; "
            "delete it to start again, or continue with the semshard that wrote it"
        )
    damaged = [name for name in _SECTIONS if not isinstance(content.get(name), dict)]
    if damaged:
        raise LedgerError(f"{path} lacks {', '.join(damaged)}; delete it to start again")
    return {name: content[name] for name in _SECTIONS}


def rates(runtime: Runtime) -> tuple[float, float]:
    """FLOP per second of a matrix product in the networks' precision, bytes per second of a copy; measured now."""
    product = matrix_product(runtime.device, runtime.dtype, _REPEATS)
    return round(product), round(memory_copy(runtime.device, _REPEATS))
