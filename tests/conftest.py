"""What many tests start from: a small real folder of images, and a finished output made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

import semshard
from semshard.sources.shapes import write_shapes
from tests.support.runs import TINY

settings.register_profile("repeatable", derandomize=True, deadline=None)  # --hypothesis-profile=default explores
settings.load_profile("repeatable")


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
    home = tmp_path / "home"
    shutil.copytree(_finished, home)
    run = home / "shards.ledger" / "run.json"
    run.write_text(run.read_text().replace(str(_finished), str(home)))
    return home
