"""What a part of a run costs on any device: operations, bytes, and so the least seconds it can take."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from torch import nn

from ..models import build
from ..noise.methods import cost
from ..settings import ProtectConfig, VerifyConfig
from .ceilings import forward_flop, layers

_UPDATE = 28  # bytes per parameter and step: gradient and momentum written and read, weight, too, and its short copy


@dataclass(frozen=True)
class Work:
    """Floating-point operations, a multiply-add being two, and bytes through the device's memory, the fewest."""

    flop: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flop + other.flop, self.bytes + other.bytes)

    def seconds(self, flop_rate: float, byte_rate: float) -> float:
        """The least time, at these rates per second."""
        return max(self.flop / flop_rate, self.bytes / byte_rate)


@dataclass(frozen=True)
class Network:
    """What the passes of a network cost. They are counted as forward ones: an input gradient is 2, a parameter step 3.

    In each every layer reads its input and its weights, and writes its output, once; what lies between convolutions
    is done on the way.
    """

    flop: float  # of a forward pass of one image
    values: int  # read and written by its layers, of one image
    weights: int
    width: int  # bytes of a value in the network

    def passes(self, count: float, batch: int) -> Work:
        """`count` passes of one image, `batch` of them at a time."""
        return Work(count * self.flop, count * self.width * (self.values + self.weights / batch))

    def surrogate(self, config: ProtectConfig) -> Work:
        """The training of a surrogate; nothing where the method has none."""
        passes = cost(config)
        updates = Work(0.0, config.steps * _UPDATE * self.weights)
        return self.passes(passes.training, config.batch) + updates if passes else Work()

    def crafting(self, config: ProtectConfig, images: int) -> Work:
        """The final noise of so many images."""
        passes = cost(config)
        return self.passes(images * passes.crafting, config.craft_batch) if passes else Work()

    def victim(self, config: VerifyConfig, rho_a: float, evaluated: int, attacked: int) -> Work:
        """A victim's training, its evaluations on so many images included, and with an adversary so many passes of
        tests under attack.
        """
        count = config.steps * config.batch * (3 + (2 * config.steps_a if rho_a else 0))
        updates = Work(0.0, config.steps * _UPDATE * self.weights)
        tests = config.evaluations * evaluated + (attacked if rho_a else 0)
        return self.passes(count + tests, config.batch) + updates


@functools.cache
def network(name: str, classes: int, size: tuple[int, int], precision: str) -> Network:
    """The network `name` for images of `size` (height, width)."""
    model = build(name, classes, size, 0)
    shapes = [shape for _, *both in layers(model, size, nn.Conv2d, nn.Linear) for shape in both]
    weights = sum(parameter.numel() for parameter in model.parameters())
    return Network(forward_flop(model, size), sum(map(math.prod, shapes)), weights, 2 if precision == "bfloat16" else 4)
