"""The bytes of a run do not depend on how many cores it has, nor on which."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.runs import TINY, public_bytes

PROGRAM = """
import json, os, sys
mask, source, out, settings = json.loads(sys.argv[1])
os.sched_setaffinity(0, mask or os.sched_getaffinity(0))
import torch
import semshard
from semshard.protection import shard_pool
shard_pool.WORTH = -1.0  # processes make the shards of the smallest run, too, where there are cores for them
semshard.protect(source, out, **settings)
"""
ALL = sorted(os.sched_getaffinity(0))
WAYS = {
    "one thread": ("1", []),
    "two threads": ("2", []),
    "three threads": ("3", []),
    "the last core": (None, ALL[-1:]),
}


def run(way, source, out, settings):
    threads, mask = WAYS[way]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    arguments = json.dumps([mask, source, str(out), settings])
    subprocess.run([sys.executable, "-c", PROGRAM, arguments], env=environment, check=True)
    return public_bytes(out)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_shards_have_the_same_bytes_on_any_cores(precision, tmp_path):
    settings = TINY | {"batch": 72, "shard_size": 36, "craft_batch": 36, "precision": precision}
    first, *others = (run(way, "shapes:72", tmp_path / way, settings) for way in WAYS)
    for way, other in zip(list(WAYS)[1:], others, strict=True):
        assert other == first, way
