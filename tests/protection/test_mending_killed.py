"""Killed right after a named file appears, a change is completed by the same command, with the same bytes."""

import shutil
import signal

import pytest
from PIL import Image

import semshard
from semshard.sources.shapes import draw_shape
from tests.support.forks import forks
from tests.support.protection import protect
from tests.support.runs import TINY, public_bytes

# The program, which ends itself by SIGKILL as soon as a file whose path ends like the first argument is in place.
KILLED = """
import os, signal, sys
end, place = sys.argv.pop(1), os.replace
def place_and_die(source, target, **options):
    place(source, target, **options)
    if str(target).endswith(end):
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = place_and_die
from semshard_cli.main import main
main()
"""
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


def killed(end, *arguments):
    process = forks().start(end, *arguments, program=KILLED)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, errors


def twin(home):
    return shutil.copytree(home, home.parent / "twin")


def unfinished(home, change):
    assert not semshard.audit(home / "shards").ok
    found = semshard.status(home / "shards")
    assert (found.change, found.running) == (change, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("end", "completed_by"),
    [
        *((end, "remove") for end in ("index.json", ".ledger/00000.parquet", "shards/00000.tar", "rejects.jsonl")),
        *(("shards/manifest.json", by) for by in ("remove", "repair", "protect")),
        ("shards/README.md", "remove"),
        ("shards/00001.parquet", "repair"),
        ("shards/00001.tar", "protect"),
    ],
)
def test_a_removal(finished, end, completed_by):
    keys = ["0000000003", "0000100001", "0000100002"]
    calm, listed = twin(finished), finished / "keys.txt"
    semshard.remove(calm / "shards", keys=keys)
    listed.write_text("\n".join(keys))
    killed(end, "remove", finished / "shards", "--keys", listed)
    unfinished(finished, "remove")
    complete = {
        "remove": lambda: semshard.remove(finished / "shards", keys=keys),
        "repair": lambda: semshard.repair(finished / "shards"),
        "protect": lambda: protect(finished),
    }
    complete[completed_by]()
    assert public_bytes(finished / "shards") == public_bytes(calm / "shards")
    assert semshard.audit(finished / "shards").ok


@pytest.mark.slow
@pytest.mark.parametrize("end", ["index.json", "shards/00003.tar", "shards/00003_stats.json"])
def test_an_extension_with_fixed_rejects(tmp_path, images, end):
    (images / "disc" / "a.png").write_bytes(b"no image")
    protect(tmp_path, max_rejects=0.1)
    for number, name in enumerate(("disc/a.png", "ring/new.png")):
        Image.fromarray(draw_shape(8000 + number)).save(images / name)
    calm = tmp_path.parent / f"{tmp_path.name}-calm"
    shutil.copytree(tmp_path, calm)
    options = ["--extend", "--retry-rejects"]
    # The calm run reads the same files at the same place, as the ledger says where they are.
    assert semshard.protect(images, calm / "shards", extend=True, retry_rejects=True, **TINY).samples == 42
    killed(end, "protect", images, "--out", tmp_path / "shards", *OPTIONS, *options)
    unfinished(tmp_path, "retry-rejects" if end == "index.json" else "extend")
    protect(tmp_path, extend=True, retry_rejects=True)
    assert public_bytes(tmp_path / "shards") == public_bytes(calm / "shards")
    assert semshard.audit(tmp_path / "shards").ok


@pytest.mark.slow
@pytest.mark.parametrize("end", ["repair/shards/00001.tar", "shards/00001.parquet"])
def test_a_repair(finished, end):
    before = public_bytes(finished / "shards")
    for name in ("00001.tar", "00002.parquet"):
        (finished / "shards" / name).unlink()
    (finished / "shards" / "00001.parquet").write_bytes(b"?")
    killed(end, "repair", finished / "shards")
    assert semshard.repair(finished / "shards").repaired
    assert public_bytes(finished / "shards") == before
    assert not (finished / "shards.ledger" / "repair").exists()
