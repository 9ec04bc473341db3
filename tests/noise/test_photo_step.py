"""Photographs of several sizes as one group, and their captured step, as a GPU has them, on stand-ins of one."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from semshard.engine import captured, make_runtime
from semshard.noise import new_surrogate
from semshard.noise.photos import PhotoNoise, cell_side, means
from semshard.noise.scratch import Scratch
from semshard.settings import protect_config
from tests.support.fake_cuda import GPU, FakeRuntime, Watch, fake_cuda
from tests.support.graphs import Cuda, Graph

RUNTIME = make_runtime("cpu", "float32")
SIZES = [(60, 80), (45, 45), (30, 200), (130, 70), (45, 45), (200, 150), (61, 80), (99, 40)]
LABELS = torch.arange(len(SIZES)) % 4
CELLS = [cell_side(*size, 24) for size in SIZES]


def photos(sizes=SIZES):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def config(**given):
    return protect_config("quick", None, "float32", {"crop": 24, "final_steps": 3, "final_draws": 2} | given)


def noise_of(runtime=RUNTIME, **given):
    of = config(**given)
    return PhotoNoise(runtime, runtime.folded(new_surrogate(of, 4, None, runtime)), of.final())


def test_a_group_of_several_sizes_has_the_gradients_of_each(monkeypatch):
    noise = noise_of(method="cell", noise_step="none", model_step="pgd")
    found = {}
    for mixed in (False, True):
        with monkeypatch.context() as patch:
            if mixed:
                patch.setattr(captured, "HOST", "none")
                patch.setattr(captured, "TRIES", 0)
            groups = noise._arrange(photos(), CELLS, LABELS, "x")
            assert len(groups) == (4 if mixed else 7), "three by draws, one of them too large for the cache here"
            for group in groups:  # without a random start, which depends on the shape of the group
                group.pixels = group.steps.pixels(group.images)
            steps = noise._gradients(groups, 1, Scratch(torch.device("cpu")), torch.Generator())
            for group, gradient in steps:
                for number, each, (height, width) in zip(group.numbers, gradient, group.sizes, strict=True):
                    assert (height, width) == means(photos()[number], cell_side(*SIZES[number], 24)).shape[:2]
                    beside = each.clone()
                    beside[:height, :, :width] = 0
                    assert not beside.any(), "views show nothing of what lies beside it"
                    found.setdefault(number, []).append(each[:height, :, :width].clone())
    assert len(found) == len(SIZES)
    for alone, together in found.values():
        assert alone.any()
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"views": "hardened"}, {"grey": "keep"}, {"method": "rem"}], ids=str)
def test_a_captured_step_is_the_plain_one_bit_for_bit(monkeypatch, given):
    found = []
    grey = [np.repeat(photo[:, :, :1], 3, 2) if number == 1 else photo for number, photo in enumerate(photos())]

    def fail(number):
        raise RuntimeError("not captured")

    for cuda in (Cuda(), Cuda(fail)):
        with monkeypatch.context() as patch:
            cuda.install(patch)
            found.append([noise_of(**given)(grey, LABELS, "x", shard) for shard in range(2)])
            assert bool(Graph.made["replays"]) == (cuda.fault is not fail)
    for with_graphs, plain in zip(*found, strict=True):
        for clean, ours, theirs in zip(grey, with_graphs, plain, strict=True):
            assert np.array_equal(ours, theirs)
            assert ours.shape == clean.shape
            assert np.abs(ours.astype(int) - clean).max() == 8
        if "grey" in given:
            assert (ours := with_graphs[1])[:, :, 0].tolist() == ours[:, :, 2].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"views": "hardened"}, {"jpeg_safe": True}, {"grey": "keep"}], ids=str)
def test_a_step_waits_for_nothing_and_leaves_nothing_on_the_host(monkeypatch, given):
    with fake_cuda(monkeypatch):
        noise = noise_of(FakeRuntime(GPU, "float32"), **given)
        groups = noise._arrange(photos(), [1] * len(SIZES), torch.arange(len(SIZES)) % 4, "x")
        scratch, generator = Scratch(GPU), torch.Generator()
        noise._step(groups, 0, scratch, generator)
        with Watch() as watch:
            noise._step(groups, 1, scratch, generator)
    assert watch.calls > 50
    assert not watch.crossings, "something is sent to the device at every step"
    assert not watch.unseeded
    assert not watch.irreproducible


class Counted(TorchDispatchMode):
    """Counts operators that write: about the kernels of a GPU."""

    def __init__(self):
        super().__init__()
        self.kernels = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returns = [each.alias_info for each in func._schema.returns]
        self.kernels += not any(alias and not alias.is_write for alias in returns)
        return func(*args, **(kwargs or {}))


def test_eight_sizes_cost_hardly_more_kernels_than_one(monkeypatch):
    monkeypatch.setattr(captured, "HOST", "none")
    monkeypatch.setattr(captured, "TRIES", 0)
    counts = []
    for sizes in ([(60, 80)] * 8, [(60 + number, 80 - number) for number in range(8)]):
        noise = noise_of()
        network = noise.network
        monkeypatch.setattr(network, "gradient", lambda images, labels, centred: images)  # counted is what is around it
        groups = noise._arrange(photos(sizes), [1] * len(sizes), LABELS, "x")
        with Counted() as counted:
            for step in range(3):
                noise._step(groups, step, Scratch(torch.device("cpu")), torch.Generator())
        counts.append(counted.kernels)
    assert counts[1] <= 1.1 * counts[0]
