"""A surrogate that several processes train together has the bytes of one that a single process trains.

Real processes, that find each other by the variables that torchrun sets, and exchange tensors by gloo.
"""

import itertools
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

import semshard
from tests.support.command import semshard as program
from tests.support.ranks import finished, start, together
from tests.support.runs import TINY

PLAIN = TINY | {"label_noise": 0.5, "warm_up": 0.5, "steps": 4, "checkpoint_seconds": 0}
CASES = {
    "plain": PLAIN,
    "noise kept": PLAIN | {"pool": 24, "precision": "float32"},
    "two networks": TINY | {"push_steps": 3, "final_views": "grey=0.4", "views": "hardened", "round_every": 1},
    "clean images": TINY | {"method": "tap"},
}
LONG = PLAIN | {"steps": 30}


def options(settings):
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]


def command(images, out, settings=LONG):
    return ["train", images, "--out", out, *options(settings)]


class Interrupt(Exception):
    """Ends a training that has written a checkpoint."""


def stopped(images, out, settings, done):
    """A training of one process that ended after so many steps."""

    def stop(event):
        if event.phase == "surrogate" and event.done >= done:
            raise Interrupt

    with pytest.raises(Interrupt):
        semshard.train(images, out, progress=stop, **settings)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, request):
    """The folder of images that all trainings here share."""
    folder = tmp_path_factory.mktemp("devices") / "images"
    return shutil.copytree(request.getfixturevalue("_drawn"), folder)


@pytest.fixture(scope="module")
def alone(pictures):
    """The bytes of a surrogate that this process trains with these settings."""
    numbers, known = itertools.count(), {}

    def bytes_of(settings):
        key = str(settings)
        if key not in known:
            known[key] = semshard.train(pictures, pictures.parent / f"alone-{next(numbers)}", **settings).read_bytes()
        return known[key]

    return bytes_of


@pytest.mark.slow
def test_two_ranks_train_the_surrogate_of_one_process(pictures, alone, tmp_path):
    """With every kind of step, from the start and from a checkpoint of one process; and disagreement is an error."""
    stopped(pictures, tmp_path / "resumed", PLAIN, 2)
    assert (tmp_path / "resumed.checkpoint").exists()
    other = shutil.copytree(pictures, tmp_path / "other")
    next(other.rglob("*.png")).rename(other / next(other.iterdir()).name / "x.png")
    trainings = [(pictures, tmp_path / name, settings) for name, settings in CASES.items()]
    trainings.append((pictures, tmp_path / "resumed", PLAIN))
    trainings.append([(pictures, tmp_path / "x", PLAIN | {"steps": 4 + rank}) for rank in range(2)])
    trainings.append([(folder, tmp_path / "x", PLAIN) for folder in (pictures, other)])
    trainings.append((pictures, tmp_path / "plain", PLAIN))
    first, second = together(trainings)
    for number, (name, settings) in enumerate(CASES.items()):
        assert (tmp_path / name).read_bytes() == alone(settings), name
        steps = settings["steps"] + settings.get("push_steps", 0)
        assert (first[number], second[number]) == ([str(tmp_path / name), steps], [str(tmp_path / name), None])
    assert (tmp_path / "resumed").read_bytes() == alone(PLAIN)
    settings_differ, names_differ, exists, wrongly_gathered, weights_differ, images_missing = first[-6:]
    assert first[-6:] == second[-6:], "every rank gives the same reason"
    assert settings_differ[0] == names_differ[0] == "SettingError"
    assert "rank 1 has settings" in settings_differ[1]
    assert "rank 1 has names and labels in the source" in names_differ[1]
    assert exists[0] == "OutputError"
    assert wrongly_gathered == []
    assert "after step 200 rank 1 has other weights than rank 0" in weights_differ
    assert "rank 1 is at step 8 with 15 readable images, rank 0 at step 8 with 16" in images_missing
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*CASES, "other", "resumed"])


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 4])
def test_more_ranks_train_the_surrogate_of_one_process(pictures, alone, tmp_path, size):
    """A batch of four parts: three ranks take one or two of them, the last part has four images."""
    settings = PLAIN | {"batch": 100, "steps": 2, "steps_u": 1, "steps_a": 1}
    found = together([(pictures, tmp_path / "surrogate", settings)], size)
    assert (tmp_path / "surrogate").read_bytes() == alone(settings)
    assert [steps for (_, steps), _ in found] == [2, *[None] * (size - 1)]
    assert [wrongly_gathered for _, wrongly_gathered in found] == [[]] * size


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others_and_one_process_continues_to_the_same_bytes(pictures, alone, tmp_path):
    out = tmp_path / "surrogate"
    assert stops(1, start(*command(pictures, out)), out)
    messages = []
    semshard.train(pictures, out, progress=lambda event: messages.append(event.message), **LONG)
    assert any("continues from step" in message for message in messages)
    assert out.read_bytes() == alone(LONG)


@pytest.mark.slow
def test_where_the_first_rank_dies_torchrun_continues_to_the_same_bytes(pictures, alone, tmp_path):
    out = tmp_path / "surrogate"
    assert stops(0, start(*command(pictures, out)), out)
    log = tmp_path / "log.jsonl"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [*torchrun, "-m", "semshard_cli", *command(pictures, out), "--json", "--log-json", log]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"surrogate": str(out)}
    assert done.stderr.count("continues from step") == 1, "the first rank alone reports"
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()].count("start") == 1
    assert out.read_bytes() == alone(LONG)


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_others_after_a_while(pictures, tmp_path):
    out = tmp_path / "surrogate"
    program = (
        "import sys; from semshard.engine import ranks; ranks.STEP_SECONDS = 10.0; "
        "from semshard_cli.main import main; sys.argv[0] = 'semshard'; main()"
    )
    ranks = start(*command(pictures, out), program=program)
    assert stops(1, ranks, out, by=signal.SIGSTOP)


def stops(rank, ranks, out, by=signal.SIGKILL):
    """Whether the other of two ranks ends with an error in words, once one gets a signal after the first checkpoint."""
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    while not checkpoint.exists() and all(each.poll() is None for each in ranks):
        time.sleep(0.001)
    ranks[rank].send_signal(by)
    ((code, output, errors),) = finished([ranks[1 - rank]])
    ranks[rank].kill()
    ranks[rank].communicate()
    assert code == 1, errors
    assert f"semshard (rank {1 - rank}): error: rank {1 - rank} of 2 stops: another rank has ended, or did" in errors
    assert "Traceback" not in errors
    return checkpoint.exists() and not output and not out.exists()


def test_protect_is_refused_where_several_processes_were_started(pictures, tmp_path, monkeypatch):
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    done = program("protect", pictures, "--out", tmp_path / "shards", expect=2)
    assert "semshard (rank 1): error: protect is one process: start train with torchrun" in done.stderr
    assert not list(tmp_path.iterdir())
