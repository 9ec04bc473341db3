"""Runs in which local processes make the shards and scan, however small the run is."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

from semshard.cores import set_cores
from semshard.protection import scan, shard_pool
from semshard.workers import WorkerOptions
from tests.support.forks import forks

ROOT = Path(__file__).parents[2]


def workers(count):
    """So many processes of this machine."""
    return WorkerOptions(workers=count)


@contextmanager
def processes(count):
    """Within it, `count` cores and as many processes; 1 for this process alone."""
    before = shard_pool.WORTH, scan.SCAN_APART
    shard_pool.WORTH, scan.SCAN_APART = -1.0, 1
    set_cores(count)
    try:
        yield
    finally:
        shard_pool.WORTH, scan.SCAN_APART = before
        set_cores(None)


def start(source, out, count, settings, first=""):
    """A process that protects with so many processes, after the lines `first`."""
    call = (
        f"semshard.protect({str(source)!r}, {str(out)!r}, checkpoint_seconds=0, **json.loads({json.dumps(settings)!r}))"
    )
    lines = [
        first,
        "import json, semshard",
        "from tests.support.workers import processes",
        f"with processes({count}):",
        f"    {call}",
    ]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return forks().start(program="\n".join(lines), environment=os.environ | {"PYTHONPATH": path})


def workers_of(driver):
    """The process numbers of the children of a process."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    return list(map(int, children))
