"""The steps that a run is made of, timed beside the plain baseline on the same images."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..engine import Runtime, deterministic, sgd
from ..measuring.ceilings import forward_flop
from ..measuring.timing import medians
from ..noise import InnerPerturbation, craft, model_step, new_surrogate, surrogate_step
from ..noise.craft import expected_gradient
from ..noise.methods import cost
from ..noise.views import make_view
from ..settings import ProtectConfig, VerifyConfig
from . import plain


@dataclass(frozen=True)
class StepTime:
    """One step of ours and of the baseline."""

    name: str
    seconds: float
    plain_seconds: float
    images: int
    flop: float  # of the step

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds

    @property
    def flop_per_second(self) -> float:
        return self.flop / self.seconds

    @property
    def ratio(self) -> float:
        """How many times as fast as the baseline."""
        return self.plain_seconds / self.seconds

    def to_json(self) -> dict[str, Any]:
        rates = {"images_per_second": self.images_per_second, "flop_per_second": self.flop_per_second}
        return dataclasses.asdict(self) | rates | {"ratio": self.ratio}


def steps(
    runtime: Runtime, protect: ProtectConfig, verify: VerifyConfig, size: tuple[int, int], repeats: int
) -> Iterator[StepTime]:
    """Times of the surrogate step, of crafting, of a victim's step and of the pass that they are made of."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (protect.batch, 3, *size), generator=generator).to(torch.uint8).to(runtime.device)
    labels = (torch.arange(protect.batch) % 10).to(runtime.device)
    x = images.float() / 255
    model = new_surrogate(protect, 10, size, runtime)
    theirs = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    view, seen = make_view(protect, size)
    forward = forward_flop(model, seen) * protect.batch
    ours, others = sgd(model, protect), torch.optim.SGD(theirs.parameters(), lr=protect.lr)
    final, asked = protect.final(), cost(protect)
    assert asked
    rho, pad = verify.rho_a[-1], protect.pad
    alpha, times = rho * verify.step_share, verify.steps_a

    def stream() -> torch.Generator:
        return runtime.generator(0, "bench")

    def timed(name: str, flop: float, mine: Callable[[], Any], plainly: Callable[[], Any]) -> StepTime:
        with deterministic():
            times = medians({"ours": mine, "plain": plainly}, repeats, runtime.device)
        return StepTime(name, times["ours"], times["plain"], protect.batch, flop)

    frozen = runtime.frozen(model)
    yield timed(
        "input gradient",
        2 * forward,
        lambda: frozen.gradient(x, labels),
        lambda: plain.input_gradient(theirs.eval(), x, labels),
    )
    yield timed(
        "surrogate step",
        asked.training / (protect.steps * protect.batch) * forward,
        lambda: surrogate_step(runtime, model.train(), ours, images, labels, view, protect, 0),
        lambda: plain.surrogate_step(theirs, others, x, labels, protect),
    )
    yield timed(
        "crafting",
        asked.crafting * forward,
        lambda: craft(runtime, model, x, labels, view, final, stream()),
        lambda: plain.craft(theirs, x, labels, final),
    )
    yield timed(
        "victim step",
        (2 * verify.steps_a + 3) * forward,
        lambda: model_step(
            runtime, model.train(), ours, x, labels, view, InnerPerturbation(rho, alpha, times), stream()
        ),
        lambda: plain.adversarial_step(theirs, others, x, labels, rho=rho, alpha=alpha, steps=times, pad=pad),
    )


def folds(runtime: Runtime, protect: ProtectConfig, size: tuple[int, int], repeats: int) -> dict[int, float]:
    """Seconds of one gradient of Eq. 10 by the number of draws that go through the network together."""
    config = protect.final()
    model = new_surrogate(protect, 10, size, runtime)
    view, _ = make_view(protect, size)
    x: Tensor = torch.rand(protect.batch, 3, *size, device=runtime.device)
    labels = (torch.arange(protect.batch) % 10).to(runtime.device)
    frozen = runtime.frozen(model)

    def one(fold: int) -> Callable[[], Tensor]:
        there = dataclasses.replace(runtime, fold=fold)
        return lambda: expected_gradient(there, frozen, x, labels, view, config, runtime.generator(0, "bench"))

    with deterministic():
        times = medians({str(fold): one(fold) for fold in range(1, config.draws + 1)}, repeats, runtime.device)
    return {int(fold): seconds for fold, seconds in times.items()}
