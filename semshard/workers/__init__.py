"""Many pieces of work at once: in this process, in local processes with a core each, or on a Ray cluster."""

from .choice import SameFolder, check_reachable, one_cluster, pool_for
from .here import Here
from .local import LocalPool
from .options import WorkerOptions
from .protocol import Job, Pool, Report, run_alone, shares

__all__ = [
    "Here",
    "Job",
    "LocalPool",
    "Pool",
    "Report",
    "SameFolder",
    "WorkerOptions",
    "check_reachable",
    "one_cluster",
    "pool_for",
    "run_alone",
    "shares",
]
