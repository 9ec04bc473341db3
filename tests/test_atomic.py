"""Files that are whole or not there, also where the disk is full."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

import semshard
from semshard.atomic import atomic_write, remove_leftovers, write_json
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY, public_bytes

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_with_the_path_and_what_to_do(tmp_path):
    said = r"No space left on device: .*/manifest\.json; free some, then run"
    with (
        pytest.raises(semshard.RunError, match=said),
        atomic_write(tmp_path / "manifest.json") as file,
        open("/dev/full", "wb") as full,
    ):
        os.dup2(full.fileno(), file.fileno())
        file.write(b"{}")
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_otherwise_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="mine"), atomic_write(tmp_path / "x") as file:
        file.write(b"x")
        raise OSError("mine")
    assert list(tmp_path.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from semshard.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"whole")
    print("open", flush=True)
    sys.stdin.read()
"""


def writer(path):
    """A process that is writing a file, until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    return process


def test_what_another_process_is_writing_is_no_leftover_until_that_process_is_gone(tmp_path):
    with writer(tmp_path / "a") as one, writer(tmp_path / "a") as two:
        assert len(list(tmp_path.iterdir())) == 2
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        two.kill()
        two.wait()
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        one.stdin.close()
        assert one.wait() == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"whole"}


CROWD = """
import sys
from pathlib import Path
from semshard.atomic import atomic_write, remove_leftovers
folder = Path(sys.argv[1])
for number in range(300):
    with atomic_write(folder / f"{number % 3}") as file:
        file.write(b"x" * 9000)
    remove_leftovers(folder)
"""


def test_processes_that_write_the_same_files_and_clean_up_do_not_disturb_each_other(tmp_path):
    crowd = [subprocess.Popen([sys.executable, "-c", CROWD, tmp_path]) for _ in range(3)]
    assert [process.wait() for process in crowd] == [0, 0, 0]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys("012", b"x" * 9000)


def test_beside_others_only_leftovers_of_this_machine_are_removed(tmp_path):
    with writer(tmp_path / "mine") as process:
        process.kill()
    old, elsewhere = ".00000.tar.semshard-tmp", ".00000.tar.0123abcd-17-89abcdef.semshard-tmp"
    for name in (old, elsewhere):
        (tmp_path / name).write_bytes(b"half")
    (mine,) = (path.name for path in tmp_path.iterdir() if path.name.startswith(".mine."))
    remove_leftovers(tmp_path, "00000.tar", everywhere=False)
    assert {path.name for path in tmp_path.iterdir()} == {old, elsewhere, mine}
    remove_leftovers(tmp_path, everywhere=False)
    assert {path.name for path in tmp_path.iterdir()} == {old, elsewhere}
    remove_leftovers(tmp_path, "00000.tar")
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_the_machine_is_not_in_a_temporary_name(tmp_path):
    with atomic_write(tmp_path / "x"):
        (name,) = (path.name for path in tmp_path.iterdir())
    assert os.uname().nodename not in name


def test_of_several_that_write_a_file_once_the_first_wins(tmp_path):
    write_json(tmp_path / "a", 1, replace=False)
    with pytest.raises(FileExistsError):
        write_json(tmp_path / "a", 2, replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "1\n"


def test_without_locks_files_are_whole_all_the_same_and_nothing_is_taken_for_a_leftover(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".y.semshard-tmp").write_bytes(b"half")
    with atomic_write(tmp_path / "x") as file:
        file.write(b"x")
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"x", ".y.semshard-tmp"}


def can_mount():
    return sys.platform == "linux" and not subprocess.run([*MOUNT, "true"], capture_output=True, check=False).returncode


@pytest.mark.slow
def test_protect_on_a_full_disk_says_so_and_goes_on_to_the_same_bytes(tmp_path):
    if not can_mount():
        pytest.skip("needs user namespaces to mount a small disk")
    write_shapes(tmp_path / "images", 40)
    semshard.protect(tmp_path / "images", tmp_path / "calm", **TINY)
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"{sys.executable} -m semshard_cli protect {tmp_path}/images --out {disk}/shards"
    script = f"""
        mount -t tmpfs -o size=120k none {disk}
        protect() {{ {command} {" ".join(OPTIONS)}; }}
        protect > /dev/null; echo first $?
        mount -o remount,size=50m {disk}
        protect > /dev/null; echo second $?
        cp -r {disk}/shards {tmp_path}/found
    """
    done = subprocess.run([*MOUNT, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["first", "1", "second", "0"]
    assert f"No space left on device: {disk}/shards" in done.stderr
    assert "run the same command again: it goes on from here" in done.stderr
    assert public_bytes(tmp_path / "found") == public_bytes(tmp_path / "calm")
