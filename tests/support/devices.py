"""The devices that a test runs on: the CPU, and a GPU where there is one."""

import pytest
import torch

ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=ON_GPU),
]


def on_gpu(test):
    """Marks a test that needs a CUDA device."""
    for mark in ON_GPU:
        test = mark(test)
    return test
