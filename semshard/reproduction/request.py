"""The arguments that reproduce and plan_reproduction share, and the opened sources that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engine import Runtime, make_runtime
from ..errors import SettingError
from ..progress import Progress, remarks, silent
from ..settings import Size, VerifyConfig, names_where
from ..sources import Source, open_source, scan
from ..verification.load import check_test
from ..workers import WorkerOptions
from .plan import ImageFacts, PlanBasis

ROUND_EVERY = {"paper": (125, 1_000)}  # steps of a surrogate and of a victim, for scales where it is set by default
_FIRST_IMAGES = 8  # that stand for all when a plan needs their size


@dataclass(frozen=True)
class TableRequest:
    """The arguments that reproduce and plan_reproduction share; `reproduce` explains them."""

    table: str
    source: str | Path
    settings: Mapping[str, Any]  # of every victim
    scale: str = "quick"
    dataset: str | None = None
    cells: Sequence[str] = ("*",)
    seeds: int = 1
    protection: Mapping[str, Any] = field(default_factory=dict)  # settings of every protection
    test: str | Path | None = None
    device: str = "auto"
    progress: Progress = silent
    workers: WorkerOptions = field(default_factory=WorkerOptions)

    def __post_init__(self) -> None:
        for name in names_where(VerifyConfig, not_for="table"):
            if name in self.settings:
                raise SettingError(f"{name} is not for a reproduction: the table decides which victims there are")

    def runtime(self) -> Runtime:
        """Where it is computed. Raises `SettingError` where there is no such device."""
        return make_runtime(self.device, str(self.settings.get("precision", "auto")), remarks(self.progress))

    def basis(self, runtime: Runtime, facts: ImageFacts) -> PlanBasis:
        """What a plan follows from; weights are rounded now and then where the scale says so."""
        rounded = ROUND_EVERY.get(self.scale)
        protection: dict[str, Any] = {"round_every": rounded[0]} if rounded else {}
        victim: dict[str, Any] = {"round_every": rounded[1]} if rounded else {}
        return PlanBasis(
            self.scale, self.seeds, protection | dict(self.protection), victim | dict(self.settings), facts,
            runtime.precision, runtime.device.type,
        )  # fmt: skip


@dataclass(frozen=True)
class Images:
    """The opened sources of a table."""

    source: Source
    test: Source | None
    size: Size  # of the first images; None where they have several sizes

    def facts(self) -> ImageFacts:
        """What a plan needs to know about them."""
        digests = {"source": self.source.digest} | ({"test": self.test.digest} if self.test else {})
        tested = len(self.test) if self.test else 0
        return ImageFacts(len(self.source), tested, len(self.source.classes), self.size, digests)


def open_images(request: TableRequest) -> Images:
    """Open the sources of a request and look at their first images.

    Raises `SourceError`, and `SettingError` where the test images do not suit the others.
    """
    source, test = open_source(request.source), open_source(request.test) if request.test else None
    size = _size_of(source, request)
    if test:
        check_test(test, source.classes)
        if _size_of(test, request) != size:
            raise SettingError(f"{test.spec} cannot test {source.spec}: images of another size, or of several")
    return Images(source, test, size)


def _size_of(source: Source, request: TableRequest) -> Size:
    numbers = range(min(_FIRST_IMAGES, len(source)))
    return scan(source, resolution=int(request.protection.get("resolution", 0)), numbers=numbers).size
