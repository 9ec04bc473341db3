"""Runs over photographs that are interrupted or killed, or whose files vanish and change under them."""

import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from semshard.engine import Runtime
from tests.support.photo_runs import FAST, ledger, passes, photo, protect, write_photos
from tests.support.runs import public_bytes


@pytest.fixture(autouse=True)
def every_step_is_reported(monkeypatch):
    """However short it is, so that a run can be interrupted after any."""
    monkeypatch.setattr(Runtime, "report_seconds", 0.0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """images/ of different sizes, and out/ from a run that nothing disturbed."""
    home = tmp_path_factory.mktemp("undisturbed")
    write_photos(home / "images")
    protect(home / "images", home / "out")
    return home


@pytest.mark.parametrize(("phase", "done"), [("surrogate", 2), ("craft", 4), ("craft", 8)])
def test_interrupted_and_resumed_it_ends_in_the_same_bytes(photographs, tmp_path, phase, done):
    def interrupt(event):
        if (event.phase, event.done) >= (phase, done) and event.phase == phase:
            raise KeyboardInterrupt

    images = photographs / "images"
    with pytest.raises(KeyboardInterrupt):
        protect(images, tmp_path / "out", progress=interrupt, checkpoint_seconds=0)
    assert not (tmp_path / "out" / "manifest.json").exists()
    protect(images, tmp_path / "out")
    assert public_bytes(tmp_path / "out") == public_bytes(photographs / "out")


def test_noise_that_a_pool_keeps_is_there_after_an_interruption(photographs, tmp_path):
    def interrupt(event):
        if (event.phase, event.done) == ("surrogate", 4):
            raise KeyboardInterrupt

    images, given = photographs / "images", {"pool": 8, "label_noise": 1.0, "steps": 6}  # each is visited anew
    protect(images, tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        protect(images, tmp_path / "out", progress=interrupt, checkpoint_seconds=0, **given)
    protect(images, tmp_path / "out", **given)
    assert public_bytes(tmp_path / "out") == public_bytes(tmp_path / "whole") != public_bytes(photographs / "out")


@pytest.mark.slow
@pytest.mark.parametrize("after", ["out.ledger/index.json", "out.ledger/surrogate.safetensors", "out/00000.tar"])
def test_killed_and_resumed_it_ends_in_the_same_bytes(photographs, tmp_path, after):
    images = photographs / "images"
    code = f"import semshard; semshard.protect({str(images)!r}, {str(tmp_path / 'out')!r}, **{FAST!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and not (tmp_path / after).exists():
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    protect(images, tmp_path / "out")
    assert public_bytes(tmp_path / "out") == public_bytes(photographs / "out")


def test_a_finished_output_of_photographs_is_left_alone(photographs):
    assert protect(photographs / "images", photographs / "out").made == 0


def spoiled(tmp_path, spoil):
    """Protect photographs, with `spoil(file)` on one of them when the crafting begins."""
    write_photos(tmp_path / "images")
    victim = tmp_path / "images" / "b" / "05.png"

    def during(event):
        if event.phase == "craft" and event.done == 0:
            spoil(victim)

    result = protect(tmp_path / "images", tmp_path / "out", progress=during, max_rejects=0.2, craft_batch=1)
    assert (result.samples, result.rejected) == (7, 1)
    passes(tmp_path / "out", 7)
    (row,) = [row for row in ledger(tmp_path / "out")[1] if not row["key"]]
    assert row["source"] == "b/05.png"
    assert row["reason"] in (tmp_path / "out.ledger" / "rejects.jsonl").read_text()
    return row["reason"]


def test_a_photograph_that_vanishes_during_the_run_is_a_late_reject(tmp_path):
    assert "vanished" in spoiled(tmp_path, lambda file: file.unlink())


def test_a_photograph_that_changes_during_the_run_is_a_late_reject(tmp_path):
    assert "changed" in spoiled(tmp_path, lambda file: Image.fromarray(photo(33)).save(file))


def test_a_photograph_that_becomes_no_image_during_the_run_is_a_late_reject(tmp_path):
    assert spoiled(tmp_path, lambda file: file.write_bytes(b"not any more"))
