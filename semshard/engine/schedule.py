"""What happens at which training step: the samples of the batch, the learning rate. Functions of the step alone."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from .runtime import Runtime


def learning_rate(start: float, every: int, step: int) -> float:
    """The rate at `step`: a tenth of it after each `every` steps."""
    return float(start * 0.1 ** (step // every))


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
