"""What a pool is: an order, which every worker gets once, and pieces of work, whose results come as they are ready.

A job is a function from an iterator of work to an iterator of results. It depends on its arguments alone, so a piece of
work has the same result wherever it is done. A pool knows nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

Order = TypeVar("Order", contravariant=True)
Work = TypeVar("Work", contravariant=True)
Result = TypeVar("Result", covariant=True)
Report = Callable[[Any], None]  # takes a small message while a piece of work is being done


class Job(Protocol[Order, Work, Result]):
    """One result for each piece of work, in their order. A function at the top of a module, so that its name is enough
    to find it in another process.
    """

    def __call__(self, order: Order, works: Iterable[Work], report: Report, /) -> Iterator[Result]: ...


class Pool(Protocol):
    """Somewhere to work. Order, work and results can be pickled; `str` of a piece of work names it in errors."""

    def run(
        self, job: Job[Order, Work, Result], order: Order, works: Iterable[Work], report: Report
    ) -> Iterator[Result]:
        """The results, in any order. What `job` and `report` raise is raised here, and ends all work under way."""


def run_alone(job: Job[Order, Work, Result], order: Order, work: Work, report: Report) -> Result:
    """The result of one piece of work."""
    (result,) = job(order, (work,), report)
    return result


def shares(cores: int, workers: int) -> list[int]:
    """The cores of each of so many workers, at least 1 each: all the cores, as evenly as can be."""
    each, more = divmod(cores, workers)
    return [max(1, each + (place < more)) for place in range(workers)]
