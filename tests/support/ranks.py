"""Processes that train one surrogate together, started as torchrun starts them."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch

import semshard
from semshard.cores import set_cores
from semshard.engine import Runtime, joined
from tests.support.forks import forks

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(*words, program=None, size=2):
    """A process for each rank, on one core: the program `semshard` with these words, or a Python `program`."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    shared = {
        "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
        "OMP_NUM_THREADS": 1, "PYTHONPATH": path,
    }  # fmt: skip
    of_rank = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(size)]
    variables = [{name: str(value) for name, value in each.items()} for each in of_rank]
    return [forks().start(*words, program=program, environment=os.environ | each) for each in variables]


def finished(ranks):
    """The exit code and both outputs of each process, once it has ended."""
    try:
        outputs = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return [(rank.returncode, *output) for rank, output in zip(ranks, outputs, strict=True)]


def together(trainings, size=2):
    """What each rank reports of each of several trainings: pairs of the path that it returned and its last event, or
    the class and the words of its error; of two ranks also what they say where they do not agree.

    A training is (source, out, settings), or a list of these, one for each rank.
    """
    program = "import sys; from tests.support.ranks import train_each; train_each(sys.argv[1])"
    given = json.dumps(trainings, default=str)
    results = finished(start(given, program=program, size=size))
    assert all(code == 0 for code, _, _ in results), results
    return [json.loads(output.splitlines()[-1]) for _, output, _ in results]


def train_each(given):
    """The program of a rank."""
    found, rank = [], int(os.environ["RANK"])
    for number, training in enumerate(json.loads(given)):
        set_cores(1 + number % 2)  # nothing may depend on it
        source, out, settings = training if isinstance(training[0], str) else training[rank]
        events = []
        try:
            path = semshard.train(source, out, progress=events.append, **settings)
            found.append([str(path), events[-1].done if events else None])
        except semshard.SemshardError as error:
            found.append([type(error).__name__, str(error)])
    with joined("cpu") as (ranks, _):
        found += [wrongly_gathered(ranks), *(disagreements(ranks) if ranks.size == 2 else [])]
    print(json.dumps(found))


def wrongly_gathered(ranks):
    """The sizes of batches for which the ranks do not get what one process computes, with its layout in memory."""
    runtime, wrong = Runtime(torch.device("cpu"), "float32"), []
    for count in (1, 2, 3, 33, 100):
        for layout in (torch.contiguous_format, torch.channels_last):
            values = torch.arange(count * 24.0).view(count, 2, 3, 4).contiguous(memory_format=layout)
            alone, whole = (
                runtime.by_parts(count, lambda part, here, values=values: values[here] * (part + 1), *among)
                for among in ((), (ranks,))
            )
            if not alone.equal(whole) or alone.stride() != whole.stride():
                wrong.append([count, str(layout)])
    return wrong


def disagreements(ranks):
    """What a rank says where weights differ in the last bit of one of them, and where batches do."""
    model = torch.nn.Linear(2, 2)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.bias)
    ranks.compare_weights(100, model)
    model.bias.data[ranks.rank] = 2.0**-149
    ranks.compare_weights(150, model)  # not yet
    for call in (lambda: ranks.compare_weights(200, model), lambda: ranks.meet(7, 16 - ranks.rank)):
        with pytest.raises(semshard.RunError) as raised:
            call()
        yield str(raised.value)
