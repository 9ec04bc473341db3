"""Parts as real processes: at once, twice, killed and ended by signals, they end in the bytes of one quiet call.

SEMSHARD_TEST_KILLS says how many parts are killed at random moments, ten where it is not set.
"""

import os
import random
import shutil
import signal
import time

import pytest

import semshard
from semshard.shards import shard_name
from tests.support.forks import forks
from tests.support.parts import copy_of, everything, words_of
from tests.support.runs import TINY

SETTINGS = TINY | {"shard_size": 3, "final_steps": 30}
SHARDS = 14
KILLS = int(os.environ.get("SEMSHARD_TEST_KILLS", "10"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120 + 10 * KILLS)]


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


def part(home, which):
    """A part in a process of its own, which is not waited for."""
    return forks().start(*words_of(home, f"--part={which}", settings=SETTINGS))


def check(home, quiet):
    """Complete what is missing, and compare."""
    here(home, part="1/1")
    here(home, finish=True)
    assert everything(home) == quiet
    assert not list(home.glob("shards*/.*"))


def marks(home):
    """How many shards are done."""
    return len(list((home / "shards").glob("*_stats.json")))


def wait_for_marks(home, count):
    until = time.monotonic() + 60
    while marks(home) < min(count, SHARDS) and time.monotonic() < until:
        time.sleep(0.002)


@pytest.mark.parametrize("lost", ["shards", "shards.ledger", "images"])
def test_after_a_mount_has_vanished_and_is_back_the_bytes_are_the_same(prepared, quiet, lost):
    """A share that is unmounted leaves an empty folder. Whatever the part then makes of it, it says so in one line or
    has ended well, and later parts complete the run.
    """
    run = part(prepared, "1/1")
    wait_for_marks(prepared, 4)
    away = (prepared / lost).rename(prepared / "away")
    (prepared / lost).mkdir()
    _, errors = run.communicate(timeout=120)
    shutil.rmtree(prepared / lost)
    away.rename(prepared / lost)
    assert run.returncode in (0, 1, 2), errors
    assert "Traceback" not in errors
    assert run.returncode == 0 or "error: " in errors
    check(prepared, quiet)


def test_parts_at_once_and_twice_end_in_the_same_bytes(prepared, quiet):
    crowd = [part(prepared, f"{number}/2") for number in (1, 2, 1, 2)]
    assert [process.wait() for process in crowd] == [0, 0, 0, 0]
    assert here(prepared, part="1/1").made == 0
    check(prepared, quiet)


def test_parts_killed_at_random_moments_and_started_again_end_in_the_same_bytes(prepared, quiet):
    """Three at a time, two of them the same part; where all shards are made, some are taken away again."""
    moments, kills, states = random.Random(4), 0, set()
    while kills < KILLS:
        if marks(prepared) > SHARDS // 2:
            for shard in moments.sample(range(SHARDS), 10):
                (prepared / "shards" / f"{shard_name(shard)}_stats.json").unlink(missing_ok=True)
        crowd = [part(prepared, which) for which in ("1/2", "2/2", "1/2")]
        wait_for_marks(prepared, marks(prepared) + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.1))
        for process in crowd:
            process.kill()
        ends = [process.wait() for process in crowd]
        assert set(ends) <= {0, -signal.SIGKILL}
        kills += ends.count(-signal.SIGKILL)
        states.add(frozenset(path.name for path in prepared.glob("shards*/*")))
        if marks(prepared) < SHARDS:
            with pytest.raises(semshard.RunError, match="shards are missing"):
                here(prepared, finish=True)
    assert len(states) >= min(KILLS // 3, 3)
    check(prepared, quiet)


@pytest.mark.parametrize(
    ("number", "code", "how"), [(signal.SIGTERM, 143, "ended by SIGTERM"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_discards_the_shard_in_hand_and_says_how_to_continue(prepared, quiet, number, code, how):
    process = part(prepared, "1/1")
    wait_for_marks(prepared, 2)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == code
    assert said.splitlines()[-1] == f"semshard: {how}; run the same command again to continue"
    assert "Traceback" not in said
    assert not list(prepared.glob("shards*/.*"))
    assert 2 <= marks(prepared) < SHARDS
    check(prepared, quiet)
