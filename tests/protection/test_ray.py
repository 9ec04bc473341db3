"""Protect on a Ray cluster of several nodes: the bytes of a local run, whatever is killed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys

import pytest

import semshard
from tests.support.ray_cluster import ROOT, actors_of, add_node, done, kill_node, ray_cluster, wait_for
from tests.support.runs import TINY, public_bytes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray, which is not ours

SMALL = TINY | {"shard_size": 2, "final_steps": 20}  # 20 shards


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(0) as cluster:
        yield cluster


def driver(cluster, source, out, *more, settings=SMALL):
    """The program that protects on the cluster, started in a folder that has no semshard, with paths from there."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [
        sys.executable,
        "-m",
        "semshard_cli",
        "protect",
        os.path.relpath(source, out.parent),
        "--out",
        out.name,
        *given,
        "--json",
    ]
    command += ["--engine", "ray", "--ray-address", cluster.address, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=out.parent)


def finish(run, code=0):
    out, errors = run.communicate(timeout=120)
    assert run.returncode == code, errors
    return out, errors


def test_a_node_with_another_version_is_refused_by_its_name(cluster, images, tmp_path):
    for name in ("semshard", "cli"):
        shutil.copytree(ROOT / name, tmp_path / "other" / name, ignore=shutil.ignore_patterns("__pycache__"))
    version = tmp_path / "other" / "semshard" / "_version.py"
    version.write_text(re.sub(r'"[\d.]+\S*"', '"0.0.1"', version.read_text()))
    odd = add_node(cluster, env_vars={"PYTHONPATH": str(tmp_path / "other")})
    try:
        settings = SMALL | {"shard_size": 40}
        run = driver(cluster, images, tmp_path / "out", "--workers", "1", "--mixed-hardware", settings=settings)
        out, errors = finish(run, 2)
    finally:
        kill_node(cluster, odd)
    assert out == ""
    assert re.search(r"error: node [\d.]+ has semshard 0\.0\.1, not .* install the same everywhere", errors)
    assert not list((tmp_path / "out").glob("0*"))


def test_workers_a_node_and_the_driver_are_killed_and_the_bytes_are_those_of_a_quiet_local_run(
    cluster, images, tmp_path
):
    semshard.protect(images, tmp_path / "calm", **SMALL)
    nodes, chance, killed = [add_node(cluster) for _ in range(3)], random.Random(24), 0
    out = tmp_path / "out"
    run = driver(cluster, images, out, "--workers", "2")
    for shards in (2, 6):
        wait_for(shards, out, run)
        actors = [number for node in nodes for number in actors_of(node)]
        if actors and run.poll() is None:
            os.kill(chance.choice(actors), signal.SIGKILL)
            killed += 1
    wait_for(9, out, run)
    run.kill()  # the driver
    run.communicate()
    assert killed == 2
    assert 9 <= done(out) < 20
    run = driver(cluster, images, out, "--workers", "2")
    wait_for(done(out) + 2, out, run)
    kill_node(cluster, next(node for node in nodes if actors_of(node)))
    printed, _ = finish(run)
    assert json.loads(printed)["samples"] == 40
    assert public_bytes(out) == public_bytes(tmp_path / "calm")
    assert not list(out.glob(".*"))
    assert not list((tmp_path / "out.ledger").glob("nonce*"))
    assert semshard.audit(out).ok
