"""Killed at any instant, a run ends in the same bytes. Real processes, real SIGKILL."""

import contextlib
import json
import random
import shutil
import signal
import time

import pyarrow.parquet as pq
import pytest

import semshard
from semshard.shards import read_tar
from semshard.sources.shapes import write_shapes
from tests.support.forks import forks
from tests.support.runs import TINY, public_bytes

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in (TINY | {"steps": 12, "shard_size": 3}).items()]


STAGES = [
    "shards.ledger/index/00000.parquet",
    "shards.ledger/index.json",
    "shards.ledger/checkpoint.safetensors",
    "shards.ledger/surrogate.safetensors",
    "shards/00003.tar",
    "shards.ledger/00005.parquet",
    "shards/manifest.json",
]


def start(home, *more):
    """A protect process."""
    words = ["protect", home / "images", "--out", home / "shards", "--checkpoint-seconds", "0", *OPTIONS, *more]
    return forks().start(*words)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_for_change(process, home):
    before = after = snapshot(home)
    while process.poll() is None and after == before:
        time.sleep(0.001)
        after = snapshot(home)


def snapshot(home):
    """Every file of the output and its ledger, with the time it was last written."""
    found = set()
    for path in home.glob("shards*/*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def wait_for(process, path):
    while process.poll() is None and not path.exists():
        time.sleep(0.001)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The public bytes of a run that nobody killed."""
    home = tmp_path_factory.mktemp("calm")
    write_shapes(home / "images", 40)
    assert start(home).wait(timeout=300) == 0
    return public_bytes(home / "shards")


@pytest.mark.slow
def test_killed_at_ten_random_instants_the_run_ends_in_the_same_bytes(tmp_path, images, calm):
    """An instant is some number of changes on disk later, and a random moment after that: it always hits the work."""
    home = tmp_path / "rough"
    shutil.copytree(images, home / "images")
    instants = random.Random(0)
    kills, states = 0, set()
    for _ in range(10):
        process = start(home)
        for _ in range(instants.randint(1, 12)):
            wait_for_change(process, home)
        time.sleep(instants.uniform(0, 0.05))
        kills += process.poll() is None
        kill(process)
        states.add(frozenset(path.name for path in home.glob("shards*/*")))
        check_what_is_visible(home)
    assert kills >= 5
    assert len(states) >= 4, "the kills hit too few stages of the work"
    assert start(home).wait(timeout=300) == 0
    assert public_bytes(home / "shards") == calm
    assert semshard.audit(home / "shards").ok


@pytest.mark.slow
@pytest.mark.parametrize("after", STAGES)
def test_killed_right_after_a_file_appears_the_run_ends_in_the_same_bytes(tmp_path, images, calm, after):
    home = tmp_path / "rough"
    home.mkdir()
    shutil.copytree(images, home / "images")
    process = start(home)
    wait_for(process, home / after)
    kill(process)
    check_what_is_visible(home)
    assert start(home).wait(timeout=300) == 0
    assert public_bytes(home / "shards") == calm


def check_what_is_visible(home):
    """Whatever carries its final name is whole."""
    for path in home.glob("shards/*"):
        if path.suffix == ".tar":
            assert [entry.name for entry, _ in read_tar(path)][-1].endswith(".png")
        elif path.suffix == ".parquet":
            pq.read_table(path)
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.name == "README.md":
            assert path.read_text().endswith(" -->\n")
        else:
            assert path.name.endswith(".semshard-tmp")


@pytest.mark.slow
def test_control_c_says_how_to_continue(tmp_path, images):
    process = start(tmp_path, "--steps", "100000")
    try:
        wait_for(process, tmp_path / "shards.ledger" / "checkpoint.safetensors")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
