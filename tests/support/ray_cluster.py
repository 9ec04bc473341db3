"""A Ray cluster on this machine: a head without CPUs, and nodes with one CPU and a small object store each."""

import os
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STORE = 80 << 20  # bytes; Ray takes no less than 75 MiB
# As for a cluster that a program starts. A process has one mode, that of the moment when any of its tests imports Ray.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef"}
SETTINGS = AUTHENTICATION | {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",  # processes that no test needs
    "RAY_enable_worker_prestart": "0",
    "RAY_health_check_period_ms": "500",  # so that a dead node is known soon
    "RAY_health_check_failure_threshold": "3",
    "RAY_worker_niceness": "0",  # not behind all other programs
    "OMP_NUM_THREADS": "1",
}


@contextmanager
def ray_settings():
    """Within it Ray starts with few processes, which find the tests; skips the test where Ray is not installed."""
    if find_spec("ray") is None:  # it is not imported before the settings stand: it reads some of them at once
        pytest.skip("Ray is not installed: pip install 'semshard[ray]'")
    before = os.environ.copy()
    path = os.pathsep.join([str(ROOT), *filter(None, [before.get("PYTHONPATH")])])
    os.environ.update(SETTINGS, PYTHONPATH=path)
    os.environ.pop("RAY_ADDRESS", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def ray_cluster(nodes):
    """The cluster, as `ray.cluster_utils.Cluster`."""
    with ray_settings():
        from ray.cluster_utils import Cluster

        cluster = Cluster(True, head_node_args={"num_cpus": 0, **PLAIN})
        try:
            for _ in range(nodes):
                cluster.add_node(num_cpus=1, **PLAIN)
            yield cluster
        finally:
            cluster.shutdown()


PLAIN = {"object_store_memory": STORE, "include_dashboard": False, "include_log_monitor": False}


def add_node(cluster, **more):
    """One more node with a CPU."""
    return cluster.add_node(num_cpus=1, **PLAIN, **more)


def kill_node(cluster, node):
    """A node goes away without a word."""
    cluster.remove_node(node, allow_graceful=False)


def actors_of(node):
    """The process numbers of the actors of a node."""
    raylet = node.all_processes["raylet"][0].process.pid
    try:
        children = Path(f"/proc/{raylet}/task").glob("*/children")
        numbers = [int(number) for each in children for number in each.read_text().split()]
        return [number for number in numbers if b"ray::_Worker" in Path(f"/proc/{number}/cmdline").read_bytes()]
    except FileNotFoundError:  # one of them has just ended
        return []


def done(out):
    """How many shards are done."""
    return len(list(out.glob("*_stats.json")))


def wait_for(shards, out, run):
    """Until so many shards are done, or the program that makes them has ended."""
    while run.poll() is None and done(out) < shards:
        time.sleep(0.01)
