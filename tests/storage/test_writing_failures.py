"""A store that fails while a run writes into it: the run ends in the right bytes, or in a plain error from which the
same command goes on; nothing that can be seen is half.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import semshard
from tests.support.object_store import CONFLICT, QUICK, Fault
from tests.support.runs import TINY
from tests.support.stored import begin, check_whole, objects, private, protect

PART = 16 << 10  # bytes of a request: a tar takes several
KINDS = {
    "unavailable": {"kind": "refuse"},
    "internal error": {"kind": "refuse", "status": 500, "code": "InternalError"},
    "too many requests": {"kind": "refuse", "status": 429, "code": "TooManyRequests"},
    "lost answer": {"kind": "lose", "status": 500, "code": "InternalError"},
    "conflict": {"kind": "refuse", "status": 409, "code": CONFLICT},
    "dropped": {"kind": "drop"},
    "cut": {"kind": "cut"},
}
PLACES = ["", ".tar", ".parquet", "_stats.json", "00001", "partNumber=2", "uploads", "list-type", "manifest", "README"]
FAULTS = st.builds(
    lambda kind, method, path, times: Fault(method=method, path=path, times=times, **KINDS[kind]),
    st.sampled_from(sorted(KINDS)), st.sampled_from(["PUT", "POST", "GET", "HEAD", ""]), st.sampled_from(PLACES),
    st.sampled_from([1, 2, 99]),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("semshard.storage.objects.Limits", lambda: replace(QUICK, part=PART))


@pytest.fixture
def url(store, prefix):
    return f"s3://bucket/{prefix}/shards"


@pytest.fixture
def begun(url, finished):
    """The URL of a run whose surrogate is trained."""
    begin(url, finished)
    return url


def make(finished, url, **options):
    """The shards and the manifest of a run that is begun."""
    protect(finished, url, part="1/1", **options)
    protect(finished, url, finish=True, **options)


def check(finished, url):
    assert objects(url) == objects(finished / "shards")
    assert private(f"{url}.ledger") == private(finished / "shards.ledger")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["00001.tar", "00001.parquet", "00001_stats.json"])
@pytest.mark.parametrize("kind", ["unavailable", "lost answer", "cut"])
def test_a_failure_at_any_file_of_a_shard_is_reported_and_overcome(finished, begun, store, kind, path):
    said = []
    store.faults.append(Fault(method="PUT", path=f"/shards/{path}", **KINDS[kind]))
    make(finished, begun, progress=lambda event: said.append(event.message))
    assert store.faults[0].times == 0
    if path != "00001.tar":  # obstore itself repeats a part of an upload
        assert sum(message.endswith("attempt 2 of 4 follows") for message in said) == 1
    check(finished, begun)


@pytest.mark.slow
def test_every_file_that_is_written_only_once_stands_an_answer_that_is_lost(finished, url, store):
    once = ["run.json", "index.json", "surrogate.safetensors", "00000_stats.json", "00002_stats.json"]
    store.faults += [Fault(method="PUT", path=name, **KINDS["lost answer"]) for name in once]
    store.faults.append(Fault("lose", "PUT", 409, CONFLICT, "00001_stats.json"))
    protect(finished, url)
    assert [fault.times for fault in store.faults] == [0] * len(store.faults)
    check(finished, url)


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_asked_again(finished, begun, store, monkeypatch):
    monkeypatch.setattr("semshard.storage.objects.Limits", lambda: replace(QUICK, timeout=2))
    store.faults += [Fault("hang", method, path=path) for method, path in (("PUT", "00001.tar"), ("GET", "index.json"))]
    make(finished, begun)
    assert [fault.times for fault in store.faults] == [0, 0]
    check(finished, begun)


@pytest.mark.slow
def test_an_upload_that_fails_leaves_no_part_of_it(finished, begun, store):
    before = store.unfinished("bucket")
    store.faults.append(Fault("refuse", "PUT", path="00001.tar?partNumber=2", times=99))
    with pytest.raises(semshard.StorageError, match=rf"^{begun}/00001.tar: the store answered 503.*, 4 times$"):
        make(finished, begun)
    assert store.unfinished("bucket") == before
    assert check_whole(begun) == 1
    assert "00001.tar" not in objects(begun)
    store.faults.clear()
    make(finished, begun)
    check(finished, begun)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["scan", "surrogate", "craft"])
def test_a_store_that_is_gone_ends_the_run_with_a_plain_error_and_nothing_stays_here(
    finished, url, store, phase, tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = sorted(tmp_path.iterdir())

    def gone(event):
        if event.phase == phase and not store.faults:
            store.faults.append(Fault("drop", times=999))

    with pytest.raises(semshard.StorageError, match=r"^s3://.*the store cannot be reached, or the.* 4 times$") as error:
        protect(finished, url, progress=gone)
    assert error.value.exit_code == 1
    assert sorted(tmp_path.iterdir()) == before
    store.faults.clear()
    check_whole(url)
    protect(finished, url)
    check(finished, url)


def whatever_fails(finished, store, number, faults):
    url = f"s3://bucket/random-{os.getpid()}-{number}/shards"
    begin(url, finished)
    store.faults[:] = faults
    with suppress(semshard.StorageError):
        make(finished, url)
    store.faults.clear()
    check_whole(url)
    make(finished, url)
    check(finished, url)


_number = iter(range(10**6))
FAILURES = int(os.environ.get("SEMSHARD_TEST_FAILURES", "15"))
EVERY = {"suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@pytest.mark.slow
@given(faults=st.lists(FAULTS, min_size=1, max_size=3))
@settings(max_examples=3, **EVERY)
def test_after_any_failures_the_same_commands_end_in_the_same_bytes(finished, store, faults):
    whatever_fails(finished, store, next(_number), faults)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(faults=st.lists(FAULTS, min_size=1, max_size=4))
@settings(max_examples=FAILURES, **EVERY)
def test_after_many_failures_the_same_commands_end_in_the_same_bytes(finished, store, faults):
    whatever_fails(finished, store, next(_number), faults)


@pytest.mark.slow
def test_a_full_disk_under_the_temporary_folder_is_named(finished, begun, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ["unshare", *(["--user", "--map-root-user"] if os.geteuid() else []), "--mount"]
    small = f"mount -t tmpfs -o size=600k small {disk}"
    if not shutil.which("unshare") or subprocess.run([*unshare, "sh", "-c", small], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    size = sum(len(data) for data in objects(f"{begun}.ledger").values())
    small = small.replace("600k", f"{(size >> 10) + 40}k")  # for what is fetched, and not for a shard
    given_ = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    line = ["protect", str(finished / "images"), "--out", begun, *given_, "--part", "1/1"]
    done = subprocess.run(
        [*unshare, "sh", "-c", f'{small} && exec {sys.executable} -m semshard_cli "$@"', "sh", *line],
        capture_output=True, text=True, timeout=300, env=os.environ | {"TMPDIR": str(disk)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert f"No space left on device: {disk}/semshard-" in done.stderr
    assert "TMPDIR says where shards are made before they are sent" in done.stderr
    check_whole(begun)
    make(finished, begun)
    check(finished, begun)


def test_a_store_that_ignores_conditions_is_refused(finished, url, store, monkeypatch):
    monkeypatch.setattr(store, "ignores_conditions", True)
    with pytest.raises(semshard.StorageError, match="this store ignores If-None-Match"):
        protect(finished, url)
    assert objects(url) == {}
