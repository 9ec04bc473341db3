"""Exit codes by real processes that end with them: 143, and 1 for a full disk, here; the others where they belong.

0, 1, 2 and 75: test_cli.py and test_event_log.py; 130: tests/protection/test_kill.py.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from semshard_cli.exits import CODES

from semshard import protect
from tests.support.command import semshard
from tests.support.forks import forks
from tests.support.runs import TINY, public_bytes

ROOT = Path(__file__).parents[2]
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


def ended_with(process, number, path):
    """Its exit code and standard error, after the signal `number` was sent when `path` had appeared."""
    try:
        while process.poll() is None and not path.exists():
            time.sleep(0.01)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


def test_the_table_is_in_the_help_and_in_the_guide():
    text = semshard("--help").stdout
    page = (ROOT / "docs" / "running.md").read_text()
    for code, meaning in CODES.items():
        assert re.search(rf"^  {code} +{re.escape(meaning)}$", text, re.MULTILINE)
        assert f"| {code} | {meaning} |" in page
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
def test_143_after_sigterm_and_the_same_command_continues_to_the_same_bytes(tmp_path, images):
    line = ["protect", images, "--out", tmp_path / "cut", "--checkpoint-seconds=0", *OPTIONS, "--steps=30"]
    checkpoint = tmp_path / "cut.ledger" / "checkpoint.safetensors"
    code, errors = ended_with(forks().start(*line), signal.SIGTERM, checkpoint)
    assert code == 143
    assert errors.splitlines()[-1] == "semshard: ended by SIGTERM; run the same command again to continue"
    assert "Traceback" not in errors
    assert checkpoint.exists()
    semshard(*line)
    protect(images, tmp_path / "whole", **TINY | {"steps": 30})
    assert public_bytes(tmp_path / "cut") == public_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_the_demo_ends_with_the_code_of_the_command_that_was_ended(tmp_path):
    demo = forks().start("demo", tmp_path / "demo", "--images", "100")
    code, errors = ended_with(demo, signal.SIGTERM, tmp_path / "demo" / "shards.ledger" / "run.json")
    assert code == 143
    assert "ended by SIGTERM" in errors
    assert not (tmp_path / "demo" / "preview.png").exists()


@pytest.mark.slow
def test_1_where_the_disk_is_full(tmp_path, images):
    """A file system of a megabyte, in a mount namespace of its own."""
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare, with which the test makes a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    program = f'mount -t tmpfs -o size=256k small {disk} && exec {sys.executable} -m semshard_cli "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if os.geteuid() == 0:
        unshare = ["unshare", "--mount"]
    if subprocess.run(
        [*unshare, "sh", "-c", f"mount -t tmpfs -o size=1m small {disk}"], capture_output=True
    ).returncode:
        pytest.skip("no file system can be mounted here")
    line = ["protect", str(images), "--out", str(disk / "shards"), *OPTIONS]
    done = subprocess.run(
        [*unshare, "sh", "-c", program, "sh", *line], capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
