"""What a reproduction has come to: cells, the parts of the work with their seconds, and the machines that did it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ..atomic import write_json
from ..engine import Runtime
from ..measuring.ceilings import matrix_product, memory_copy
from ..measuring.cost import Work
from ..measuring.machine import describe
from ..settings import fingerprint

_REPEATS = 3
_PARTS = ("machines", "digests", "parts", "cells")


@dataclass
class Record:
    """A JSON file, written whenever something is added."""

    path: Path
    runtime: Runtime
    _known: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in _PARTS})
    _here: str = ""

    def __post_init__(self) -> None:
        if self.path.exists():
            self._known = json.loads(self.path.read_text())

    def cell(self, key: str) -> dict[str, Any] | None:
        """What is known of a cell."""
        return self._known["cells"].get(key)

    def put(self, key: str, cell: dict[str, Any]) -> None:
        """Keep what a cell has come to."""
        self._known["cells"][key] = cell
        write_json(self.path, self._known)

    @contextmanager
    def timed(self, key: str, label: str, work: Work) -> Iterator[None]:
        """Time a part of the work. Its operations and bytes count where it ends well, its seconds in any case."""
        start, done = time.perf_counter(), Work()
        try:
            yield
            done = work
        finally:
            self.add(key, label, time.perf_counter() - start, done)

    def add(self, key: str, label: str, seconds: float, work: Work) -> None:
        """Add to a part what was done of it here."""
        known = self._known["parts"].get(key, {"seconds": 0.0, "flop": 0.0, "bytes": 0.0})
        self._known["parts"][key] = {
            "part": label,
            "seconds": round(known["seconds"] + seconds, 1),
            "flop": known["flop"] + work.flop,
            "bytes": known["bytes"] + work.bytes,
            "machine": self._machine(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        write_json(self.path, self._known)

    def parts(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Those of the parts that were begun, each with its rate and the share of a matrix product's that this is."""
        found = []
        for part in (self._known["parts"][key] for key in keys if key in self._known["parts"]):
            rate = part["flop"] / part["seconds"] if part["seconds"] else 0.0
            share = rate / self.machines[part["machine"]]["matrix_product"]
            found.append({**part, "flop_per_second": round(rate), "share": round(share, 4)})
        return found

    def digest(self, key: str, path: Path) -> None:
        """Keep the SHA-256 of a file that may not stay."""
        self._known["digests"][key] = hashlib.sha256(path.read_bytes()).hexdigest()
        write_json(self.path, self._known)

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 in hex, by the key of the part that made the file."""
        return self._known["digests"]

    @property
    def machines(self) -> dict[str, dict[str, Any]]:
        """By name: hardware, versions, and the measured rates of a matrix product and of a copy."""
        return self._known["machines"]

    def _machine(self) -> str:
        """The name of this machine, which is measured once."""
        if not self._here:
            about = describe(self.runtime.device)
            self._here = f"{about['device']}, {fingerprint(about)[:6]}"
            if self._here not in self.machines:
                product, copy = rates(self.runtime)
                self.machines[self._here] = about | {"matrix_product": product, "memory_copy": copy}
        return self._here


def rates(runtime: Runtime) -> tuple[float, float]:
    """FLOP a second of a matrix product in the precision of the networks, bytes a second of a copy; measured now."""
    dtype = torch.bfloat16 if runtime.precision == "bfloat16" else torch.float32
    product = matrix_product(runtime.device, dtype, _REPEATS)
    return round(product), round(memory_copy(runtime.device, _REPEATS))
