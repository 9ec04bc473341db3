"""Many pieces of work at once: in this process, in local processes with a core each, or on a Ray cluster."""

from .here import Here
from .local import LocalPool
from .options import WorkerOptions
from .protocol import Job, Pool, Report, run_alone, shares

__all__ = ["Here", "Job", "LocalPool", "Pool", "Report", "WorkerOptions", "run_alone", "shares"]
