"""What Windows or macOS lack, taken away from real interpreters: everything is imported, and a small run is made."""

import re
import subprocess
import sys

import pytest

from semshard.file_lock import take
from tests.support.runs import TINY, public_bytes

# The libraries of others come first: what they do on another system is theirs.
PRELUDE = """
import importlib, os, pkgutil, signal, sys
import torch, torchvision, cv2, pyarrow.parquet, matplotlib.pyplot, sklearn.datasets, jsonschema, typer, rich, PIL.Image
import scipy.stats, safetensors.torch, jinja2, fsspec, multiprocessing.connection, subprocess, tempfile, tarfile
for name in {modules!r}:
    sys.modules[name] = None
for name in {functions!r}:
    if hasattr(os, name):
        delattr(os, name)
for name in {signals!r}:
    if hasattr(signal, name):
        delattr(signal, name)
"""
RUN = """
import semshard, semshard_cli
for package in (semshard, semshard_cli):
    for each in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not each.name.endswith(("__main__", "ray_pool")):  # this machine's Ray is the one for Linux
            importlib.import_module(each.name)
from semshard.workers import LocalPool
from semshard.memory import free_memory
from tests.test_other_systems import double
result = semshard.protect({images!r}, {out!r}, **{settings!r})
print(semshard.audit({out!r}).ok, result.samples, free_memory() > 1 << 20)
print(sorted(LocalPool(2, 2).run(double, 1, [1, 2, 3], print)))
"""
WINDOWS = {
    "modules": ("fcntl", "resource", "termios", "pty", "grp", "pwd", "readline", "syslog", "msvcrt"),
    "functions": (
        "sched_getaffinity", "sched_setaffinity", "fork", "forkpty", "sysconf", "pread", "pwrite", "getuid", "geteuid",
        "getpgid", "killpg", "setsid", "uname", "getloadavg", "statvfs", "fchmod", "posix_fadvise", "mkfifo", "nice",
    ),
    "signals": ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "alarm", "SIGCHLD", "pthread_sigmask", "SIGPIPE"),
}  # fmt: skip
MACOS = {
    "modules": ("spwd", "msvcrt"),
    "functions": ("sched_getaffinity", "posix_fadvise", "memfd_create"),
    "signals": (),
}

# How msvcrt of Windows locks, by the byte ranges of POSIX: for one process, by position, without waiting.
MSVCRT = """
import os, struct, sys, types
import fcntl as _fcntl
def locking(descriptor, mode, count):
    try:
        _fcntl.lockf(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB, count, os.lseek(descriptor, 0, os.SEEK_CUR))
    except OSError:
        raise PermissionError(13, "Permission denied")
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
sys.modules["fcntl"] = None
from semshard.file_lock import take
with open(sys.argv[1], "ab") as file:
    print(take(file), flush=True)
    sys.stdin.read()
"""


def double(order, works, report):
    for work in works:
        yield 2 * work + order


@pytest.mark.slow
@pytest.mark.parametrize("without", [WINDOWS, MACOS], ids=["windows", "macos"])
def test_everything_is_imported_and_a_small_run_ends_in_the_same_bytes(tmp_path, finished, without):
    out = str(tmp_path / "shards")
    program = PRELUDE.format(**without) + RUN.format(images=str(finished / "images"), out=out, settings=TINY)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["True 40 True", "[3, 5, 7]"]
    assert public_bytes(tmp_path / "shards") == public_bytes(finished / "shards")


def test_the_program_starts_without_what_windows_lacks():
    bare = re.sub(r"^import (torch|scipy).*\n", "", PRELUDE, flags=re.MULTILINE).format(**WINDOWS)
    program = (
        "import typer, rich\n" + bare + "from semshard_cli.main import main; sys.argv = ['semshard', '--help']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Exit codes" in done.stdout


def holder(path):
    """A process that locks a file as on Windows, and says whether it could."""
    return subprocess.Popen(
        [sys.executable, "-c", MSVCRT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_the_lock_of_windows_keeps_others_out_until_its_holder_ends(tmp_path):
    first, second, third = (tmp_path / "lock" for _ in range(3))
    with holder(first) as one:
        assert one.stdout.readline() == "True\n"
        with holder(second) as two:
            assert two.stdout.readline() == "False\n"
            two.stdin.close()
        one.kill()
    with holder(third) as three:
        assert three.stdout.readline() == "True\n"
        three.stdin.close()


def test_the_lock_of_this_system_is_free_again_when_its_file_is_closed(tmp_path):
    with open(tmp_path / "lock", "ab") as one:
        assert take(one)
        with open(tmp_path / "lock", "ab") as two:
            assert not take(two)
    with open(tmp_path / "lock", "ab") as three:
        assert take(three)
