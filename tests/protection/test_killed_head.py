"""The head of a Ray cluster dies during a run: the same command on another cluster ends in the same bytes."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import semshard
from tests.support.ray_cluster import STORE, done, ray_settings, wait_for
from tests.support.runs import TINY, public_bytes

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of Ray, which is not ours

SMALL = TINY | {"shard_size": 2, "final_steps": 20}  # 20 shards


@contextlib.contextmanager
def head(folder):
    """A head with one CPU, which is killed with all that it has started; gives its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    options = [f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=1", f"--object-store-memory={STORE}"]
    program = "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()"
    command = [sys.executable, "-c", program, "start", "--head", "--block", "--include-dashboard=false", *options]
    said = folder / f"head-{port}"
    with open(said, "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            while process.poll() is None and "will now block" not in said.read_text():
                time.sleep(0.05)
            yield address, process
        finally:
            kill_group(process)


def kill_group(process):
    """All processes that a head has started die at once, without a word."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def driver(source, out, address):
    given = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = [sys.executable, "-m", "semshard_cli", "protect", str(source), "--out", str(out), *given, "--json"]
    command += ["--log-json", f"{out}.log", "--engine", "ray", "--workers", "1", "--ray-address", address]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def test_the_head_dies_and_the_same_command_on_another_one_ends_in_the_same_bytes(images, tmp_path):
    semshard.protect(images, tmp_path / "calm", **SMALL)
    out = tmp_path / "out"
    with ray_settings():
        with head(tmp_path) as (address, process), driver(images, out, address) as run:
            wait_for(3, out, run)
            kill_group(process)
            _, errors = run.communicate(timeout=300)
        assert run.returncode == 1, errors
        assert "error: the head of the Ray cluster at" in errors
        assert 3 <= done(out) < 20
        assert not (out / "manifest.json").exists()
        with head(tmp_path) as (address, _), driver(images, out, address) as run:
            printed, errors = run.communicate(timeout=300)
            assert run.returncode == 0, errors
    assert json.loads(printed)["samples"] == 40
    assert public_bytes(out) == public_bytes(tmp_path / "calm")
    assert not list((tmp_path / "out.ledger").glob("nonce*"))
