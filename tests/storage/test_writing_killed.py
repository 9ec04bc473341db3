"""Real processes that write into one store and are killed: at once, twice, at any request, they end in the same bytes.

SEMSHARD_TEST_KILLS says how many processes are killed in each of the long tests, ten where it is not set.
"""

import os
import random
import signal
import time

import pytest

import semshard
from tests.support.forks import Forks
from tests.support.runs import TINY
from tests.support.stored import begin, check_whole, objects, private, protect

KILLS = int(os.environ.get("SEMSHARD_TEST_KILLS", "10"))
pytestmark = pytest.mark.timeout(240 + 60 * KILLS)
SHARDS = 3
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


@pytest.fixture(scope="module")
def forks(_store, tmp_path_factory):
    home = tmp_path_factory.mktemp("forks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(home))  # where killed processes leave their folders
        forks = Forks()
        forks.log = home / "log"  # what all of them write
        yield forks
        forks.close()


@pytest.fixture
def url(store, prefix):
    return f"s3://bucket/{prefix}/shards"


def start(forks, home, url, *words):
    """A process that is not waited for."""
    return forks.start("protect", home / "images", "--out", url, *WORDS, *words, log=forks.log)


def check(home, url):
    """Complete what is missing, and compare."""
    protect(home, url)
    assert objects(url) == objects(home / "shards")
    there = private(f"{url}.ledger")
    assert {name: there.get(name) for name in private(home / "shards.ledger")} == private(home / "shards.ledger")
    assert {name for name in there.keys() - private(home / "shards.ledger") if "checkpoint" not in name} == set()


def wait_for_requests(store, processes, count):
    """Until the store was asked so often again, or all processes have ended; those that still run."""
    until, running = len(store.requests) + count, list(processes)
    patience = time.monotonic() + 120
    while running and len(store.requests) < until and time.monotonic() < patience:
        running = [process for process in running if process.poll() is None]
        time.sleep(0.001)
    return running


def kill(processes):
    """How many of them a SIGKILL ended."""
    for process in processes:
        process.kill()
    return [process.wait() for process in processes].count(-signal.SIGKILL)


@pytest.mark.slow
def test_parts_at_once_and_twice_end_in_the_same_bytes(forks, finished, url):
    begin(url, finished)
    crowd = [start(forks, finished, url, f"--part={part}") for part in ("1/2", "2/2", "1/2")]
    assert [process.wait() for process in crowd] == [0, 0, 0], forks.log.read_text()[-2000:]
    assert protect(finished, url, part="1/1").made == 0
    check(finished, url)


def killed_parts(forks, home, url, store, kills):
    begin(url, home)
    moments, done, states = random.Random(7), 0, set()
    while done < kills:
        for name in [name for name in objects(url) if name.endswith("_stats.json") and moments.random() < 0.7]:
            store.ask("DELETE", f"/{url.removeprefix('s3://')}/{name}")
        crowd = [start(forks, home, url, f"--part={part}") for part in ("1/2", "2/2", "1/2")]
        done += kill(wait_for_requests(store, crowd, moments.randint(1, 110)))
        states.add(frozenset(objects(url)))
        check_whole(url)
        if check_whole(url) < SHARDS:
            with pytest.raises(semshard.RunError, match="shards are missing"):
                protect(home, url, finish=True)
    check(home, url)
    return states


@pytest.mark.slow
def test_parts_that_are_killed_and_started_again_end_in_the_same_bytes(forks, finished, url, store):
    killed_parts(forks, finished, url, store, 3)


@pytest.mark.slow
def test_parts_that_are_killed_at_many_moments_end_in_the_same_bytes(forks, finished, url, store):
    assert len(killed_parts(forks, finished, url, store, KILLS)) >= min(KILLS // 4, 4)


def killed_calls(forks, home, url, store, kills):
    """Two whole runs at a time, from the scan to the manifest; where they have ended, in another place."""
    moments, done, number, states = random.Random(11), 0, 0, set()
    while done < kills:
        here = f"{url}-{number}"
        crowd = [start(forks, home, here, "--checkpoint-seconds=0") for _ in range(2)]
        done += kill(wait_for_requests(store, crowd, moments.randint(1, 90)))
        states.add(frozenset([*objects(here), *objects(f"{here}.ledger")]))
        check_whole(here)
        if "manifest.json" in objects(here):
            check(home, here)
            number += 1
    check(home, f"{url}-{number}")
    return states


@pytest.mark.slow
def test_calls_that_are_killed_and_started_again_end_in_the_same_bytes(forks, finished, url, store):
    killed_calls(forks, finished, url, store, 3)


@pytest.mark.slow
def test_calls_that_are_killed_at_many_moments_end_in_the_same_bytes(forks, finished, url, store):
    assert len(killed_calls(forks, finished, url, store, KILLS)) >= min(KILLS // 3, 5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_call_in_words_and_leaves_nothing_here(forks, finished, url, store, number, code):
    begin(url, finished)
    before = set(os.listdir(forks.log.parent))
    process = start(forks, finished, url, "--part=1/1")
    assert wait_for_requests(store, [process], 12)
    process.send_signal(number)
    assert process.wait() == code
    assert set(os.listdir(forks.log.parent)) <= before | {"log"}
    assert "Traceback" not in forks.log.read_text()
    check(finished, url)
