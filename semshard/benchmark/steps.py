"""The steps that a run is made of, timed beside the plain baseline on the same images."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..engine import Runtime, deterministic
from ..measuring.ceilings import forward_flop
from ..measuring.timing import medians
from ..noise import InnerPerturbation, ModelStep, NoiseCrafter, SurrogateTraining, initial_noise, new_surrogate
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
    bench = StepBench(runtime, protect, size, repeats)
    yield bench.input_gradient()
    yield bench.surrogate_step()
    yield bench.crafting()
    yield bench.victim_step(verify)


class StepBench:
    """Random images and two equal networks on them: one for our steps, one for the baseline's."""

    def __init__(self, runtime: Runtime, config: ProtectConfig, size: tuple[int, int], repeats: int) -> None:
        self._runtime, self._config, self._repeats = runtime, config, repeats
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (config.batch, 3, *size), generator=generator)
        self._images = images.to(torch.uint8).to(runtime.device)
        self._labels = (torch.arange(config.batch) % 10).to(runtime.device)
        self._x = self._images.float() / 255
        model = new_surrogate(config, 10, size, runtime)
        self._plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
        self._plain_sgd = torch.optim.SGD(self._plain.parameters(), lr=config.lr)
        self._view, seen = make_view(config, size)
        self._forward = forward_flop(model, seen) * config.batch
        self._training = SurrogateTraining.of(
            runtime, model, self._view, config, initial_noise(config, config.batch, size, runtime)
        )
        passes = cost(config)
        assert passes
        self._passes = passes

    def _timed(self, name: str, flop: float, ours: Callable[[], Any], plainly: Callable[[], Any]) -> StepTime:
        with deterministic():
            times = medians({"ours": ours, "plain": plainly}, self._repeats, self._runtime.device)
        return StepTime(name, times["ours"], times["plain"], self._config.batch, flop)

    def our_surrogate_step(self) -> None:
        self._training.step(0, self._images, self._labels)

    def our_victim_step(self, verify: VerifyConfig) -> Callable[[], object]:
        rho = verify.rho_a[-1]
        step = ModelStep(
            self._training.network, self._view, InnerPerturbation(rho, rho * verify.step_share, verify.steps_a)
        )
        return lambda: step(self._x, self._labels, 0, "bench")

    def input_gradient(self) -> StepTime:
        network, x, labels = self._training.network.folded, self._x, self._labels
        return self._timed(
            "input gradient",
            2 * self._forward,
            lambda: network.gradient(x, labels),
            lambda: plain.input_gradient(self._plain.eval(), x, labels),
        )

    def surrogate_step(self) -> StepTime:
        config = self._config
        return self._timed(
            "surrogate step",
            self._passes.training / (config.steps * config.batch) * self._forward,
            self.our_surrogate_step,
            lambda: plain.surrogate_step(self._plain, self._plain_sgd, self._x, self._labels, config),
        )

    def crafting(self) -> StepTime:
        final, x, labels = self._config.final(), self._x, self._labels
        crafter = NoiseCrafter(self._training.network.folded, self._view, final, self._runtime.draws_together)
        return self._timed(
            "crafting",
            self._passes.crafting * self._forward,
            lambda: crafter(x, labels, self._runtime.generator(0, "bench")),
            lambda: plain.craft(self._plain, x, labels, final),
        )

    def victim_step(self, verify: VerifyConfig) -> StepTime:
        rho, steps = verify.rho_a[-1], verify.steps_a
        perturbation = InnerPerturbation(rho, rho * verify.step_share, steps)
        return self._timed(
            "victim step",
            (2 * steps + 3) * self._forward,
            self.our_victim_step(verify),
            lambda: plain.adversarial_step(
                self._plain, self._plain_sgd, self._x, self._labels, perturbation, self._config.pad
            ),
        )


def folds(runtime: Runtime, protect: ProtectConfig, size: tuple[int, int], repeats: int) -> dict[int, float]:
    """Seconds of one gradient of Eq. 10 by the number of draws that go through the network together."""
    config = protect.final()
    network = runtime.folded(new_surrogate(protect, 10, size, runtime))
    view, _ = make_view(protect, size)
    x: Tensor = torch.rand(protect.batch, 3, *size, device=runtime.device)
    labels = (torch.arange(protect.batch) % 10).to(runtime.device)

    def one(together: int) -> Callable[[], Tensor]:
        crafter = NoiseCrafter(network, view, config, together)
        return lambda: crafter.expected_gradient(x, labels, runtime.generator(0, "bench"))

    with deterministic():
        times = medians({str(draws): one(draws) for draws in range(1, config.draws + 1)}, repeats, runtime.device)
    return {int(draws): seconds for draws, seconds in times.items()}
