"""Ceilings: what is short on a GPU is timed many times between two waits."""

import torch
from torch import nn

from semshard.measuring.ceilings import convolutions
from semshard.measuring.timing import medians
from tests.support.graphs import Cuda, Graph

CPU = torch.device("cpu")


def test_runs_between_two_waits_are_timed_as_one_and_counted_as_many():
    calls = []
    seconds = medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU, together=5)
    assert calls == (["a"] * 5 + ["b"] * 5) * 3, "a warm-up and two repeats, in turn"
    assert all(0 < value < 0.01 for value in seconds.values())


def test_on_a_gpu_convolutions_are_captured_and_replayed_fifty_times_between_two_waits(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 2))
    assert convolutions(model, (8, 8), 4, CPU, torch.float32, 1) > 0
    cuda = Cuda().install(monkeypatch)
    assert convolutions(model, (8, 8), 4, CPU, torch.float32, 1) > 0
    assert cuda.captures == 4, "two layers, each with the whole batch and with half of it"
    assert Graph.made["replays"] == 4 * (1 + 2 * 50), "a check, and fifty in the warm-up and in the repeat"
