"""Parts as real processes: at once, twice, killed and ended by signals, they end in the bytes of one quiet call.

SEMSHARD_TEST_KILLS says how many parts are killed at random moments, six where it is not set.
"""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

import semshard
from tests.support.parts import copy_of, everything, start
from tests.support.runs import TINY

SETTINGS = TINY | {"shard_size": 3, "final_steps": 30}
KILLS = int(os.environ.get("SEMSHARD_TEST_KILLS", "6"))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _prepared(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("prepared")
    shutil.copytree(_drawn, home / "images")
    here(home, until="surrogate")
    return home


@pytest.fixture(scope="module")
def quiet(_prepared, tmp_path_factory):
    """What a run in one call leaves."""
    home = copy_of(_prepared, tmp_path_factory.mktemp("quiet"))
    here(home)
    return everything(home)


@pytest.fixture
def prepared(_prepared, tmp_path):
    return copy_of(_prepared, tmp_path)


def here(home, **options):
    """A step in this process."""
    return semshard.protect(home / "images", home / "shards", **(SETTINGS | options))


def elsewhere(home, *words, **options):
    """A step in a process of its own, which is not waited for."""
    return start(home, *words, settings=SETTINGS, **options)


def check(home, quiet):
    """Complete what is missing, and compare."""
    here(home, part="1/1")
    here(home, finish=True)
    assert everything(home) == quiet
    assert not list(home.glob("shards*/.*"))


def marks(home):
    """How many shards are done."""
    return len(list((home / "shards").glob("*_stats.json")))


def wait_for_marks(process, home, count):
    while process.poll() is None and marks(home) < count:
        time.sleep(0.002)


def test_parts_at_once_and_twice_end_in_the_same_bytes(prepared, quiet):
    crowd = [elsewhere(prepared, f"--part={number}/2") for number in (1, 2, 1)]
    assert [process.wait(timeout=300) for process in crowd] == [0, 0, 0]
    assert here(prepared, part="1/1").made == 0
    check(prepared, quiet)


def test_parts_killed_at_random_moments_and_started_again_end_in_the_same_bytes(prepared, quiet):
    """Two parts at a time; where they have made all shards, some are taken away again."""
    moments, kills, states = random.Random(4), 0, set()
    while kills < KILLS:
        if marks(prepared) > 8:
            for shard in range(0, 14, 2):
                (prepared / "shards" / f"{shard:05d}_stats.json").unlink(missing_ok=True)
        crowd = [elsewhere(prepared, f"--part={number}/2") for number in (1, 2)]
        wait_for_marks(moments.choice(crowd), prepared, marks(prepared) + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.1))
        for process in crowd:
            kills += process.poll() is None
            process.kill()
        for process in crowd:
            process.wait()
        states.add(frozenset(path.name for path in prepared.glob("shards*/*")))
        if marks(prepared) < 14:
            with pytest.raises(semshard.RunError, match="shards are missing"):
                here(prepared, finish=True)
    assert len(states) >= min(KILLS // 2, 3)
    check(prepared, quiet)


@pytest.mark.parametrize(
    ("number", "code", "how"), [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_discards_the_shard_in_hand_and_says_how_to_continue(prepared, quiet, number, code, how):
    allow = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    part = elsewhere(prepared, "--part=1/1", stderr=subprocess.PIPE, text=True, preexec_fn=allow)
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
    check(prepared, quiet)
