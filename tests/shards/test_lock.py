"""The lock of a ledger: alone, or shared by those that only add to a run."""

import errno
import fcntl
import subprocess
import sys

import pytest

import semshard
from semshard.shards import Ledger, ledger

HOLDER = """
import sys
from pathlib import Path
from semshard.shards import Ledger
with Ledger(Path(sys.argv[1])).locked(shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path, how):
    """A process that holds the lock until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", ["shared", "alone"])
def test_only_those_that_share_the_lock_hold_it_together(tmp_path, monkeypatch, how):
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)
    mine = Ledger(tmp_path / "l")
    assert not mine.is_locked
    with holder(mine.path, how) as process:
        assert mine.is_locked
        with pytest.raises(semshard.OutputError, match="another process is writing here"), mine.locked():
            pass
        if how == "shared":
            with mine.locked(shared=True):
                assert not mine.is_alone
        else:
            with pytest.raises(semshard.OutputError, match="another process"), mine.locked(shared=True):
                pass
        process.kill()
        process.wait()
        assert not mine.is_locked
        with mine.locked():
            assert mine.is_alone


def test_a_process_that_shares_the_lock_leaves_files_of_other_machines_alone(tmp_path):
    mine = Ledger(tmp_path / "l")
    with mine.locked():
        pass
    half = mine.path / ".00000.parquet.0123abcd-17-89abcdef.semshard-tmp"
    half.write_bytes(b"half")
    with mine.locked(shared=True):
        assert half.exists()
    with mine.locked():
        assert not half.exists()


def test_a_file_system_without_locks_is_named_with_what_to_do(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    mine = Ledger(tmp_path / "l")
    for shared in (False, True):
        with (
            pytest.raises(semshard.OutputError, match=r"/l has no file locks.*mount it with them"),
            mine.locked(shared),
        ):
            pass
    assert not mine.is_locked
