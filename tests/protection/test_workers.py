"""Shards made by local processes: the same bytes as by one, whatever is killed; errors in words."""

import os
import random
import re
import shutil
import signal
import time

import pytest

import semshard
from semshard.errors import TooManyRejects
from semshard.protection import shard_pool
from semshard.shards import Ledger, ledger_path
from tests.support.runs import TINY, public_bytes
from tests.support.workers import processes, start, workers_of

SMALL = TINY | {"shard_size": 8}


def ledger_rows(out, shards):
    return [row for shard in range(shards) for row in Ledger(ledger_path(out)).shard(shard)]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sem", "ntga", "sc", "tap"])
def test_any_number_of_processes_makes_the_same_bytes(images, tmp_path, method):
    outs = []
    counts = (1, 2, 3) if method == "sem" else (1, 2)  # a third process does not depend on the method
    for count in counts:
        out = tmp_path / f"out{count}"
        with processes(count):
            settings = SMALL | {"method": method}
            found = semshard.protect(
                images, out, **{k: v for k, v in settings.items() if method == "sem" or k not in GRID}
            )
        outs.append((public_bytes(out), ledger_rows(out, found.shards)))
        assert found.made == found.shards == 5
    assert all(found == outs[0] for found in outs)
    assert semshard.audit(tmp_path / f"out{counts[-1]}").ok


GRID = {"steps_u", "steps_a", "rho_a", "final_draws"}


@pytest.mark.slow
def test_tars_and_their_other_fields_are_the_same_by_processes(images, tmp_path):
    semshard.protect(images, tmp_path / "in", **TINY)
    outs = []
    for count in (1, 3):
        with processes(count):
            semshard.protect(f"wds:{tmp_path}/in/{{00000..00002}}.tar,label=cls", tmp_path / f"out{count}", **SMALL)
        outs.append((public_bytes(tmp_path / f"out{count}"), ledger_rows(tmp_path / f"out{count}", 3)))
    assert outs[0] == outs[1]


@pytest.mark.slow
def test_photographs_are_the_same_by_processes(photos, tmp_path):
    outs = []
    for count in (1, 2):
        with processes(count):
            semshard.protect(photos, tmp_path / f"out{count}", **SMALL | {"shard_size": 4, "keep_metadata": "all"})
        outs.append((public_bytes(tmp_path / f"out{count}"), ledger_rows(tmp_path / f"out{count}", 2)))
    assert outs[0] == outs[1]


@pytest.fixture
def photos(tmp_path):
    """Eight photographs of different sizes, two of them small, in two class folders."""
    import numpy as np
    from PIL import Image

    random_ = np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 40 if number > 5 else 90 + number
        coarse = Image.fromarray(random_.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((side, side + 7 * (number < 6))).save(path)
    return tmp_path / "photos"


@pytest.mark.slow
def test_inputs_that_vanish_after_the_scan_are_late_rejects_of_the_driver_too(images, tmp_path):
    outs = []
    for count in (1, 2):
        copy, out = tmp_path / f"images{count}", tmp_path / f"out{count}"
        shutil.copytree(images, copy)
        with processes(count):
            semshard.protect(copy, out, **SMALL)
            for path in [*out.glob("00001*"), out / "manifest.json", *out.glob("00003*")]:
                path.unlink()
            gone = [row.source for row in Ledger(ledger_path(out)).shard(1)][:3]
            for name in gone:
                (copy / name).unlink()
                (copy / name).write_bytes(b"no picture")
            with pytest.raises(TooManyRejects, match="3 of 40"):
                semshard.protect(copy, out, **SMALL)
            assert not list(out.glob(".*"))
            found = semshard.protect(copy, out, max_rejects=0.5, **SMALL)
        assert (found.samples, found.rejected) == (37, 3)
        outs.append(public_bytes(out))
    assert outs[0] == outs[1]


def test_a_source_that_only_this_process_can_read_is_made_here_with_a_remark(images, tmp_path):
    import fsspec

    memory, said = fsspec.filesystem("memory"), []
    memory.put(str(images), "/pictures", recursive=True)
    try:
        with processes(2):
            semshard.protect("memory://pictures", tmp_path / "a", progress=said.append, **SMALL)
    finally:
        memory.rm("/pictures", recursive=True)
    assert any("can be read by this process only" in event.message for event in said)
    semshard.protect(images, tmp_path / "b", **SMALL)
    assert public_bytes(tmp_path / "a").keys() == public_bytes(tmp_path / "b").keys()


@pytest.mark.slow
def test_progress_of_all_processes_adds_up(images, tmp_path):
    said = []
    with processes(2):
        semshard.protect(images, tmp_path / "out", progress=said.append, **SMALL)
    crafted = [event.done for event in said if event.phase == "craft"]
    assert crafted == sorted(crafted)
    assert crafted[0] == 0
    assert crafted[-1] == 40


@pytest.mark.slow
def test_little_memory_or_one_shard_means_this_process(images, tmp_path, monkeypatch):
    with processes(2):
        assert workers_seen(images, tmp_path / "a", SMALL) == 2
        assert workers_seen(images, tmp_path / "b", SMALL | {"shard_size": 40}) == 0
        monkeypatch.setattr(shard_pool, "BASE", 1 << 60)
        assert workers_seen(images, tmp_path / "c", SMALL) == 0
    assert public_bytes(tmp_path / "a") == public_bytes(tmp_path / "c")


def workers_seen(source, out, settings):
    """How many processes a run had while it crafted, at most."""
    seen, others = [0], set(workers_of(os.getpid()))

    def look(event):
        seen.append(len(set(workers_of(os.getpid())) - others) * (event.phase == "craft"))

    semshard.protect(source, out, progress=look, **settings)
    return max(seen)


@pytest.mark.slow
def test_a_driver_killed_at_random_instants_ends_in_the_same_bytes(images, tmp_path):
    settings = SMALL | {"shard_size": 2, "final_steps": 10}
    with processes(1):
        semshard.protect(images, tmp_path / "calm", **settings)
    instants, kills, states = random.Random(1), 0, set()
    for _ in range(5):
        run = start(images, tmp_path / "rough", 2, settings)
        made = len(list((tmp_path / "rough").glob("*_stats.json")))
        while run.poll() is None and len(list((tmp_path / "rough").glob("*_stats.json"))) <= made:
            time.sleep(0.005)
        time.sleep(instants.uniform(0, 0.3))
        kills += run.poll() is None
        run.kill()
        run.wait()
        states.add(len(list((tmp_path / "rough").glob("*_stats.json"))))
    assert kills >= 3
    assert len(states) >= 3
    assert start(images, tmp_path / "rough", 3, settings).wait(timeout=120) == 0
    assert public_bytes(tmp_path / "rough") == public_bytes(tmp_path / "calm")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_run_in_words_and_the_same_command_continues(images, tmp_path):
    settings = SMALL | {"shard_size": 2, "final_steps": 60}
    run = start(images, tmp_path / "out", 2, settings)
    try:
        while not list((tmp_path / "out").glob("*_stats.json")):
            time.sleep(0.01)
        os.kill(workers_of(run.pid)[0], signal.SIGKILL)
        _, errors = run.communicate(timeout=60)
    finally:
        run.kill()
    assert "RunError: a worker process was ended by SIGKILL" in errors
    assert re.search(r" with shard \d+ in hand", errors)
    assert "run the same command again to continue" in errors
    assert not list((tmp_path / "out").glob(".*"))
    assert start(images, tmp_path / "out", 2, settings).wait(timeout=120) == 0
    with processes(1):
        semshard.protect(images, tmp_path / "calm", **settings)
    assert public_bytes(tmp_path / "out") == public_bytes(tmp_path / "calm")


@pytest.mark.slow
def test_a_full_disk_in_a_worker_is_the_error_of_the_run(images, tmp_path):
    """A limit on the size of a file, which the kernel reports like a full disk."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    lines = ["import signal", "from semshard.workers import local", f"local._PROGRAM = {limited!r} + local._PROGRAM"]
    lines.append("signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # which the workers inherit")
    run = start(images, tmp_path / "out", 2, SMALL, "\n".join(lines))
    _, errors = run.communicate(timeout=120)
    assert run.returncode != 0
    assert "OSError: [Errno 27] File too large" in errors
    assert not list((tmp_path / "out").glob(".*"))
    assert start(images, tmp_path / "out", 2, SMALL).wait(timeout=120) == 0
