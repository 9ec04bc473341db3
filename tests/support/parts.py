"""Runs in numbered parts."""

import shutil
import subprocess
import sys
from pathlib import Path

import semshard
from tests.support.runs import TINY, public_bytes


def step(home, **options):
    """One step of the run of home/images into home/shards, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", home / "shards", **(TINY | options))


def copy_of(home, tmp_path):
    """home/ for one test alone."""
    return Path(shutil.copytree(home, tmp_path / "copy"))


def everything(home):
    """The bytes of all that a run leaves, public and private; but run.json, which has the path of its source, and what
    is of the parts alone.
    """
    own = {"run.json", "parts.json", "lock"}
    private = {name: data for name, data in public_bytes(home / "shards.ledger").items() if name not in own}
    return public_bytes(home / "shards") | {f"ledger/{name}": data for name, data in private.items()}


def start(home, *words, settings=TINY, **options):
    """The program, in the background: protect home/images into home/shards, with these words at the end."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    line = ["protect", home / "images", "--out", home / "shards", "--checkpoint-seconds=0", *given, *words]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    return subprocess.Popen([sys.executable, "-m", "semshard_cli", *map(str, line)], **options)
