"""Runs in numbered parts."""

import shutil
from pathlib import Path

import semshard
from tests.support.runs import TINY, public_bytes


def step(home, **options):
    """One step of the run of home/images into home/shards, with the settings TINY and those that are given."""
    return semshard.protect(home / "images", home / "shards", **(TINY | options))


def words_of(home, *words, settings=TINY):
    """The same for the program, in words; those that are given come last."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    return ["protect", home / "images", "--out", home / "shards", *given, *words]


def copy_of(home, tmp_path):
    """home/ for one test alone."""
    return Path(shutil.copytree(home, tmp_path / "copy"))


def everything(home):
    """The bytes of all that a run leaves, public and private; but run.json and index.json, which have the path of its
    source, and what is of the parts alone.
    """
    own, ledger = {"run.json", "index.json", "parts.json", "lock"}, home / "shards.ledger"
    private = [path for path in sorted(ledger.rglob("*")) if path.is_file() and path.name not in own]
    return public_bytes(home / "shards") | {f"ledger/{path.relative_to(ledger)}": path.read_bytes() for path in private}
