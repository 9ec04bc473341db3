"""What many tests start from: a small real folder of images, and a finished output made of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

import semshard
from semshard.sources.shapes import write_shapes

settings.register_profile("repeatable", derandomize=True, deadline=None)  # --hypothesis-profile=default explores
settings.load_profile("repeatable")

TINY = {
    "preset": "quick",
    "steps": 3,
    "batch": 16,
    "steps_u": 2,
    "steps_a": 2,
    "final_steps": 3,
    "final_draws": 1,
    "shard_size": 16,
    "craft_batch": 8,
    "rho_a": "2/255",
    "seed": 20240815,
}
REAL = Path(os.environ.get("SEMSHARD_TEST_DATA", Path(__file__).parents[1] / ".cache" / "data"))


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


def real(name: str) -> Path:
    """A folder of real photographs; skips the test where they are not laid out."""
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"real images are not there: {folder} (set SEMSHARD_TEST_DATA to where they are)")
    return folder


def public_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a public folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
