"""Fused convolutions rest on private operators of torch: each use of them is compared with torch's own convolution."""

import dataclasses
import os
import subprocess
import sys
import time

import pytest
import torch

from semshard.engine.fused import available, problem, reason
from semshard.engine.kernels import onednn

with_fused = pytest.mark.skipif(not available(), reason="fused convolutions are not used here")


@with_fused
def test_the_operators_here_compute_what_plain_convolutions_do():
    assert problem() is None
    assert reason() is None


def without_sum(operators):
    return lambda x, other, *common: operators.convolve(x, *common[:6], "relu" if "relu" in common else "none", [], "")


def unrotated(pack):
    """The kernel of the gradient, which has 3 outputs and not 5, with its rotation undone."""
    return lambda weight, *rest: pack(weight if weight.shape[0] == 5 else weight.flip(2, 3), *rest)


WRONG = {
    "no ReLU": lambda ops: {"convolve": lambda *args: ops.convolve(*args[:7], "none", [], "")},
    "no sum": lambda ops: {"convolve_add": without_sum(ops)},
    "3 % too large": lambda ops: {"convolve": lambda *args: ops.convolve(*args) * (1 + 2**-5)},
    "the gradient's kernel not rotated": lambda ops: {"pack": unrotated(ops.pack)},
    "another shape": lambda ops: {"convolve": lambda *args: ops.convolve(*args)[:, :1]},
    "NaN": lambda ops: {"convolve": lambda *args: ops.convolve(*args) * torch.nan},
}


@with_fused
@pytest.mark.parametrize("wrong", WRONG)
def test_operators_that_compute_something_else_are_noticed(wrong):
    operators = dataclasses.replace(onednn(), **WRONG[wrong](onednn()))
    fault = problem(lambda: operators)
    assert fault is not None
    assert torch.__version__ in fault


def test_operators_that_are_missing_or_fail_are_noticed():
    def missing():
        return torch.ops.mkldnn._no_such_convolution

    def fail(*args):
        raise RuntimeError("unsupported\nin many lines")

    assert "lacks fused convolutions" in problem(missing)
    operators = dataclasses.replace(onednn(), pack=fail) if available() else None
    if operators:
        assert problem(lambda: operators).endswith("(unsupported)")


@with_fused
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_the_comparison_does_not_depend_on_where_it_is_made_and_leaves_the_global_state_alone(mode):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with mode():
        assert problem() is None
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


@with_fused
def test_the_comparison_takes_far_less_than_a_tenth_of_a_second():
    seconds = []
    for _ in range(5):
        start = time.thread_time()
        problem()
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("value", ["off", "OFF", ""])
def test_an_environment_variable_switches_fused_convolutions_off(value):
    code = "from semshard.engine.fused import available, reason; print(available()); print(reason())"
    environment = os.environ | {"SEMSHARD_FUSED": value}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    switched, sentence = done.stdout.splitlines()
    assert switched == str(available() and not value)
    assert ("SEMSHARD_FUSED=off" in sentence) == bool(value)
