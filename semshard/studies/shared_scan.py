"""One scan of a source, shared by the trainings and protections of a study."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from ..engine import NEVER, Deadline, Runtime
from ..progress import Progress
from ..protection.protect import run_protect
from ..protection.request import Request
from ..protection.result import ProtectResult
from ..protection.scan import check_collection, scan_source
from ..protection.surrogate import SurrogateFiles, train_surrogate
from ..settings import ProtectConfig
from ..shards import Ledger, ledger_path
from ..sources import Collection


@dataclass
class SharedScan:
    """The source of a request, scanned when it is first needed and only once, for trainings and protections of it.

    These have requests of their own, with the same source and the same settings of how pictures are read.
    """

    request: Request
    runtime: Runtime

    @functools.cached_property
    def collection(self) -> Collection:
        """The scanned source. Raises `SourceError`, `TooManyRejects`."""
        collection = scan_source(self.request.open(), self.request, self.runtime)
        check_collection(collection, self.request)
        return collection

    def config(self, request: Request) -> ProtectConfig:
        """The settings of a request in full. Raises `SettingError`."""
        return request.config(self.collection.size, self.runtime)

    def train(
        self, config: ProtectConfig, files: SurrogateFiles, progress: Progress, deadline: Deadline = NEVER
    ) -> None:
        """Train a surrogate. Raises `TimeIsUp`, a checkpoint written, where the deadline comes first."""
        files.surrogate.parent.mkdir(parents=True, exist_ok=True)
        train_surrogate(self.runtime, self.collection, config, files, progress, deadline)

    def protect(self, request: Request, out: Path) -> ProtectResult:
        """Protect the images of the source; raises as `protect`. A run that is resumed needs no scan."""
        known = Ledger(ledger_path(out)).run() is not None
        return run_protect(request, out, None if known else self.collection)
