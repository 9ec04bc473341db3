"""Networks to compute with, and where."""

import pytest
import torch

from semshard.engine import Runtime, choose_precision
from semshard.models import build

CPU = Runtime(torch.device("cpu"), "float32")
PRECISIONS = sorted({"float32", choose_precision(CPU.device)[0]})  # that this CPU has instructions for
SHALLOW = ("resnet18", "small")  # networks whose rounding errors stay small; the others are in tests/models


def skip_emulated(precision, name):
    """Skip a test of a large network in bfloat16 on a CPU that has to emulate it, which takes 20 times as long."""
    if precision not in PRECISIONS and name != "small":
        pytest.skip("a large network in bfloat16, and this CPU has no AVX-512 BF16 instructions")


def used(name, dtype, size=(32, 32)):
    """A network whose batch norm statistics and affine weights are all different from their start."""
    model = build(name, 5, size, seed=1).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.add_(torch.randn(tensor.shape, generator=generator, dtype=dtype) * 0.1)
            module.running_var.mul_(torch.rand(module.running_var.shape, generator=generator, dtype=dtype) + 0.5)
    return model
