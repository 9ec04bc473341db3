"""Parts as real processes: at once, twice, killed and ended by signals, they end in the bytes of one quiet call."""

import random
import shutil
import signal
import subprocess
import time

import pytest

import semshard
from tests.support.parts import copy_of, everything, start
from tests.support.runs import TINY

SETTINGS = TINY | {"shard_size": 3, "final_steps": 10}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _prepared(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("prepared")
    shutil.copytree(_drawn, home / "images")
    semshard.protect(home / "images", home / "shards", **SETTINGS, until="surrogate")
    return home


@pytest.fixture(scope="module")
def quiet(_prepared, tmp_path_factory):
    """What a run in one call leaves."""
    home = copy_of(_prepared, tmp_path_factory.mktemp("quiet"))
    semshard.protect(home / "images", home / "shards", **SETTINGS)
    return everything(home)


@pytest.fixture
def prepared(_prepared, tmp_path):
    return copy_of(_prepared, tmp_path)


def run(home, *words, **options):
    """The program in the background, with the settings of these tests."""
    return start(home, *words, settings=SETTINGS, **options)


def finish(home):
    assert run(home, "--finish").wait(timeout=120) == 0
    assert semshard.audit(home / "shards").ok


def marks(home):
    """How many shards are done."""
    return len(list((home / "shards").glob("*_stats.json")))


def wait_for_marks(process, home, count):
    while process.poll() is None and marks(home) < count:
        time.sleep(0.002)


def test_parts_at_once_and_twice_end_in_the_same_bytes(prepared, quiet):
    crowd = [run(prepared, f"--part={number}/2") for number in (1, 2, 1)]
    assert [process.wait(timeout=300) for process in crowd] == [0, 0, 0]
    finish(prepared)
    assert everything(prepared) == quiet


def test_parts_killed_at_random_moments_and_started_again_end_in_the_same_bytes(prepared, quiet):
    moments, kills, states = random.Random(4), 0, set()
    for turn in range(4):
        crowd = [run(prepared, f"--part={number}/2") for number in (1, 2)]
        wait_for_marks(crowd[turn % 2], prepared, marks(prepared) + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.05))
        for process in crowd:
            kills += process.poll() is None
            process.kill()
        for process in crowd:
            process.wait()
        states.add(frozenset(path.name for path in prepared.glob("shards*/*")))
        with pytest.raises(semshard.RunError, match="shards are missing"):
            semshard.protect(prepared / "images", prepared / "shards", **SETTINGS, finish=True)
    assert kills >= 5
    assert len(states) == 4
    assert [run(prepared, f"--part={number}/2").wait(timeout=300) for number in (2, 1)] == [0, 0]
    finish(prepared)
    assert everything(prepared) == quiet


@pytest.mark.parametrize(
    ("number", "code", "how"), [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_discards_the_shard_in_hand_and_says_how_to_continue(prepared, quiet, number, code, how):
    allow = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    part = run(prepared, "--part=1/1", stderr=subprocess.PIPE, text=True, preexec_fn=allow)
    try:
        wait_for_marks(part, prepared, 2)
        part.send_signal(number)
        _, errors = part.communicate(timeout=60)
    finally:
        part.kill()
    assert part.returncode == code
    assert errors.splitlines()[-1] == f"semshard: {how}; run the same command again to continue"
    assert "Traceback" not in errors
    assert not list(prepared.glob("shards*/.*"))
    assert 2 <= marks(prepared) < 14
    assert run(prepared, "--part=1/1").wait(timeout=300) == 0
    finish(prepared)
    assert everything(prepared) == quiet
