"""Random numbers of code that draws from torch's global generator, as torch's and torchvision's own does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it, what is drawn from the CPU's global generator is decided by `seed`; its state is put back after."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
