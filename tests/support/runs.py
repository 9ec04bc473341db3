"""Settings of a small run, real photographs, and what a run has published."""

import os
import shutil
from pathlib import Path

import pytest

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
REAL = Path(os.environ.get("SEMSHARD_TEST_DATA", Path(__file__).parents[2] / ".cache" / "data"))


def real(name: str) -> Path:
    """A folder of real photographs; skips the test where they are not installed."""
    folder = REAL / name
    if not folder.is_dir():
        pytest.skip(f"real images are missing: {folder} (set SEMSHARD_TEST_DATA to the folder that holds them)")
    return folder


def copy_of(home: Path, to: Path) -> Path:
    """images/, shards/ and shards.ledger/ of a run, copied; the ledger names the images of the copy."""
    shutil.copytree(home, to)
    run = to / "shards.ledger" / "run.json"
    run.write_text(run.read_text().replace(str(home), str(to)))
    return to


def of_shards(files: dict[str, bytes]) -> dict[str, bytes]:
    """Of the files of a public folder those of its shards: neither the manifest nor what is made of it."""
    return {name: data for name, data in files.items() if name[:5].isdigit()}


def public_bytes(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a public folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
