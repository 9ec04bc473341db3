"""What many tests start from: a small real folder of images, and a finished output made of it; and how the tests are
shared out to worker processes (pytest-xdist, where it is installed and `-n` is given).
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import semshard
from semshard.cores import cores
from semshard.sources.shapes import write_shapes
from tests.support.ray_cluster import AUTHENTICATION
from tests.support.runs import TINY, copy_of

os.environ.update(AUTHENTICATION)
settings.register_profile("repeatable", derandomize=True, deadline=None)  # --hypothesis-profile=default explores
settings.load_profile("repeatable")

MEMORY = 4 << 30  # bytes for a worker; one process that ran the quick tests held 3.5 GB

if "PYTEST_XDIST_WORKER" in os.environ:  # torch is not imported yet, and reads this when it is
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """`-n auto`: a worker for each core that may be used, fewer where there is little memory."""
    return max(1, min(cores(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEMORY))


def pytest_addoption(parser):
    parser.addoption(
        "--slow-until", type=int, metavar="SECONDS", default=None,
        help="slow tests that have not begun by this time, in seconds since 1970, are skipped; "
        "the order of the files is drawn anew for each time, so that all have their turn",
    )  # fmt: skip


def pytest_collection_modifyitems(config, items):
    """Files with slow tests come first: a worker takes whole files, and a long one should not begin last."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    until = config.getoption("--slow-until")
    if until is not None:
        files = sorted({item.path for item in items})
        random.Random(until).shuffle(files)
        items.sort(key=lambda item: files.index(item.path))
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)  # before what the test starts from is made
def pytest_runtest_setup(item):
    until = item.config.getoption("--slow-until")
    if until is not None and time.time() > until and item.get_closest_marker("slow"):
        pytest.skip("a slow test, and the time for these is up")


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws without a seed does not depend on the tests before it."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def _drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "images"
    write_shapes(folder, 40)
    return folder


@pytest.fixture(scope="session")
def _finished(_drawn, tmp_path_factory):
    home = tmp_path_factory.mktemp("finished")
    shutil.copytree(_drawn, home / "images")
    semshard.protect(home / "images", home / "shards", **TINY)
    return home


@pytest.fixture
def images(_drawn, tmp_path):
    """40 drawn pictures in ten class folders, for this test alone."""
    return Path(shutil.copytree(_drawn, tmp_path / "images"))


@pytest.fixture
def finished(_finished, tmp_path):
    """images/, shards/ and shards.ledger/ of a run with the settings TINY, for this test alone."""
    return copy_of(_finished, tmp_path / "home")
