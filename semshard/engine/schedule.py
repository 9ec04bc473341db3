"""What happens at which training step: the samples of the batch, the learning rate. Functions of the step alone."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from ..settings import ProtectConfig, VerifyConfig
from .runtime import Runtime

RISE = 0.3  # share of the steps of one cycle over which the rate rises
FIRST, LAST = 1 / 25, 1 / 250_000  # of the peak: the rates of the first and the last step


def learning_rate(config: ProtectConfig | VerifyConfig, lr: float, step: int) -> float:
    """The rate at `step` of a training whose setting is `lr`: its first rate, or the peak of its one cycle."""
    if config.schedule == "one-cycle":
        return lr * one_cycle(config.steps, step)
    return float(lr * 0.1 ** (step // config.lr_every))


def one_cycle(steps: int, step: int) -> float:
    """The rate at `step` as a share of the peak: up in 30 % of the steps, then down to nearly nothing, each along half
    a cosine (Smith 2018), with the shares of torch's OneCycleLR. The momentum stays.
    """
    top, last = max(RISE * steps - 1, 0.0), steps - 1
    if step <= top:
        return _along_cosine(FIRST, 1.0, step / top if top else 1.0)
    return _along_cosine(1.0, LAST, (step - top) / (last - top))


def _along_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def batch_numbers(count: int, batch: int, seed: int, step: int) -> Tensor:
    """The sample numbers, int64 (batch,), of training step `step`: a stream of seeded permutations cut into batches.

    No sample is left out at the end of an epoch, and any step's batch is found without the ones before it.
    """
    first, last = step * batch, (step + 1) * batch
    epochs = range(first // count, (last - 1) // count + 1)
    stream = torch.cat([permutation(count, seed, "order", epoch) for epoch in epochs])
    at = first - epochs.start * count
    return stream[at : at + batch]


@functools.lru_cache(maxsize=2)
def permutation(count: int, seed: int, *path: str | int) -> Tensor:
    """0 to count − 1 shuffled, int64 on the CPU, decided by `seed` and `path` alone."""
    generator = Runtime(torch.device("cpu"), "float32").generator(seed, *path)
    return torch.randperm(count, generator=generator)
