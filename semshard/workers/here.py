"""A pool of one worker: this process, with all its threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .protocol import Job, Order, Report, Result, Work


class Here:
    """All pieces of work pass through the job as one stream, so the next is begun while the last is being finished."""

    def run(
        self, job: Job[Order, Work, Result], order: Order, works: Iterable[Work], report: Report
    ) -> Iterator[Result]:
        return job(order, works, report)
