"""Files that are whole or not there, also where the disk is full."""

import os
import subprocess
import sys

import pytest

import semshard
from semshard.atomic import atomic_write, write_json
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY, public_bytes

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named_with_the_path_and_what_to_do(tmp_path):
    path = tmp_path / "manifest.json"
    (tmp_path / ".manifest.json.semshard-tmp").symlink_to("/dev/full")
    with pytest.raises(semshard.RunError, match=r"No space left on device: .*/manifest\.json; free some, then run"):
        write_json(path, {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_otherwise_stays_what_it_is(tmp_path):
    with pytest.raises(OSError, match="mine"), atomic_write(tmp_path / "x") as file:
        file.write(b"x")
        raise OSError("mine")
    assert list(tmp_path.iterdir()) == []


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
