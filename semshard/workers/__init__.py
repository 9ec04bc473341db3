"""Many pieces of work at once: in this process, or in local processes with a core each."""

from .here import Here
from .local import LocalPool
from .protocol import Job, Pool, Report, run_alone, shares

__all__ = ["Here", "Job", "LocalPool", "Pool", "Report", "run_alone", "shares"]
