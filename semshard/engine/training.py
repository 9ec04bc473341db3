"""The one resumable training loop, of surrogates and of victims: batches → step → rounding → follow → save."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torch import Tensor

from ..errors import TimeIsUp
from ..settings import ProtectConfig, VerifyConfig
from .checkpoint import Checkpoint, may_stop
from .deadline import NEVER, Deadline
from .network import TrainableNetwork
from .runtime import deterministic

Batch = TypeVar("Batch")


@dataclass
class Autosave:
    """Saves a training from time to time, and stops it, saved, before the deadline."""

    what: str  # the training, in words
    save: Callable[[Checkpoint], None]
    every: float = 60.0  # seconds
    deadline: Deadline = NEVER
    _saved: float = field(default_factory=time.monotonic)

    def after(self, done: int, config: ProtectConfig | VerifyConfig, snapshot: Callable[[int], Checkpoint]) -> None:
        """Called after every step. Raises `TimeIsUp`."""
        stop = may_stop(config, done) and self.deadline.must_stop_now()
        if done == config.steps:
            return
        if stop or time.monotonic() - self._saved >= self.every:
            self.save(snapshot(done))
            self._saved = time.monotonic()
        if stop:
            where = f"{self.what} stands at step {done:,} of {config.steps:,}"
            raise TimeIsUp(f"the time is up: {where}; run the same command to continue")


@dataclass(frozen=True)
class TrainingLoop(Generic[Batch]):
    """Trains `network` for `config.steps` steps, from any checkpoint on with the same result, bit for bit on the same
    machine.

    `batches(steps)` gives a batch for each of these step numbers. `step(number, batch)` trains on it and returns the
    loss, still on the device; `after_step(steps done, loss)` follows.
    """

    network: TrainableNetwork
    config: ProtectConfig | VerifyConfig
    batches: Callable[[range], Iterable[Batch]]
    step: Callable[[int, Batch], Tensor]
    after_step: Callable[[int, Tensor], None]
    autosave: Autosave | None = None

    def run(self, begin: Checkpoint, until: int | None = None) -> None:
        """Train from `begin` to the last step, or until that many steps are done. Raises `TimeIsUp`, saved, where the
        deadline comes first.
        """
        network, config = self.network, self.config
        network.restore(begin)
        steps = range(begin.step, until or config.steps)
        with deterministic():
            for number, batch in zip(steps, self.batches(steps), strict=True):
                network.set_learning_rate(config, number)
                loss = self.step(number, batch)
                network.round_state(config, number + 1)
                self.after_step(number + 1, loss)
                if self.autosave:
                    self.autosave.after(number + 1, config, network.snapshot)
