"""The bytes of a run do not depend on how many cores it has, nor on which."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.networks import PRECISIONS
from tests.support.runs import TINY, public_bytes

PROGRAM = """
import json, os, sys
mask, source, outs, settings = json.loads(sys.argv[1])
os.sched_setaffinity(0, mask or os.sched_getaffinity(0))
import torch
import semshard
from semshard.protection import shard_pool
shard_pool.WORTH = -1.0  # processes make the shards of the smallest run, too, where there are cores for them
for precision, out in outs.items():
    semshard.protect(source, out, precision=precision, **settings)
"""
ALL = sorted(os.sched_getaffinity(0))
WAYS = {
    "one thread": ("1", []),
    "two threads": ("2", []),
    "three threads": ("3", []),
    "the last core": (None, ALL[-1:]),
}


def run(way, source, home, settings):
    """The bytes that a process makes in that way, by precision: in bfloat16, too, where the CPU has it."""
    (threads, mask), outs = WAYS[way], {precision: str(home / precision) for precision in PRECISIONS}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    arguments = json.dumps([mask, source, outs, settings])
    subprocess.run([sys.executable, "-c", PROGRAM, arguments], env=environment, check=True)
    return {precision: public_bytes(Path(out)) for precision, out in outs.items()}


@pytest.mark.slow
def test_shards_have_the_same_bytes_on_any_cores(tmp_path):
    settings = TINY | {"batch": 72, "shard_size": 36, "craft_batch": 36}
    first, *others = (run(way, "shapes:72", tmp_path / way, settings) for way in WAYS)
    for way, other in zip(list(WAYS)[1:], others, strict=True):
        assert other == first, way
