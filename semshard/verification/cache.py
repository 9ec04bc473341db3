"""Results that took long to compute, in one JSON file, so that nothing is computed twice.

The file is `{"schema_version": 2, "kind": KIND, "results": {KEY: {...}}}`. A file that is broken, or of another shape,
kind or version, is never trusted: the cache starts empty, and the first new result replaces the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..atomic import write_json

SCHEMA_VERSION = 2


@dataclass
class ResultCache:
    """Results as JSON values, by a fingerprint of everything that they depend on.

    `kind` says what the results are (victims, points): every result of a file has the same shape.
    """

    path: Path
    kind: str = "victims"
    _results: dict[str, dict[str, Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._results = self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._results

    @property
    def is_empty(self) -> bool:
        return not self._results

    def __getitem__(self, key: str) -> dict[str, Any]:
        """The result with this key, which there must be."""
        return self._results[key]

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result with this key; where there is none yet, `make` computes it, and it is written down."""
        if key not in self._results:
            self.put(key, make())
        return self._results[key]

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Write a result down."""
        self._results[key] = result
        write_json(self.path, {**self._header, "results": self._results})

    @property
    def _header(self) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind}

    def _read(self) -> dict[str, dict[str, Any]]:
        """The results in the file; none where the file is missing or cannot be trusted."""
        try:
            content = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):  # ValueError: neither JSON nor UTF-8
            return {}
        if not isinstance(content, dict) or content.keys() != {*self._header, "results"}:
            return {}
        results = content.pop("results")
        usable = content == self._header and isinstance(results, dict)
        return results if usable and all(isinstance(each, dict) for each in results.values()) else {}
