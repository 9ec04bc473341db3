"""The state of a training: exact, or rounded so that it can be carried to another machine in few bytes.

A training with `round_every` rounds its weights and momentum after every so many steps and continues from the rounded
ones, whether it stops there or not. So a training that was carried from machine to machine, and one that ran without a
stop, end in the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ..settings import ProtectConfig, VerifyConfig

WEIGHT_BITS = 8  # significant bits of a rounded weight: those of bfloat16, which a step computes with anyway
MOMENTUM_BITS = 4  # of a rounded momentum, which is forgotten within tens of steps


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` steps: all that is needed to continue with the same result."""

    step: int = 0
    tensors: dict[str, Tensor] = field(default_factory=dict)  # model.*, momentum.*, extra_state.*


def snapshot(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    extra_state: Mapping[str, Tensor] = MappingProxyType({}),
) -> Checkpoint:
    """A copy of all that a training needs to continue after `step` steps; `extra_state` is what its steps change
    besides model and momentum.
    """
    tensors = {f"model.{name}": value.detach().clone() for name, value in model.state_dict().items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors[f"momentum.{number}"] = state["momentum_buffer"].detach().clone()
    tensors |= {f"extra_state.{name}": value.clone() for name, value in extra_state.items()}
    return Checkpoint(step, tensors)


def restore(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    begin: Checkpoint,
    extra_state: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """`snapshot` undone, in the tensors that the model has, and in those of `extra_state`."""
    if not begin.step:
        return
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "momentum": {}, "extra_state": {}}
    for key, value in begin.tensors.items():
        kind, _, name = key.partition(".")
        parts[kind][name] = value
    model.load_state_dict(parts["model"])
    for name, value in extra_state.items():
        value.copy_(parts["extra_state"][name])
    if parts["momentum"]:
        state = optimiser.state_dict()
        state["state"] = {int(number): {"momentum_buffer": value} for number, value in parts["momentum"].items()}
        optimiser.load_state_dict(state)
        for (
            parameter,
            state_of,
        ) in optimiser.state.items():  # the fused step reads both in memory order
            state_of["momentum_buffer"] = torch.empty_like(parameter).copy_(state_of["momentum_buffer"])


def may_stop(config: ProtectConfig | VerifyConfig, done: int) -> bool:
    """Whether a training may stop after `done` steps: where its state is rounded, or anywhere without rounding."""
    return not config.round_every or done == config.steps or done % config.round_every == 0


@torch.no_grad()
def round_state(
    model: nn.Module, optimiser: torch.optim.Optimizer, config: ProtectConfig | VerifyConfig, done: int
) -> None:
    """Round weights and momentum in place where the settings ask for it after `done` steps.

    Vectors, as batch norm has them, stay as they are: they are few.
    """
    if not config.round_every or not may_stop(config, done):
        return
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.copy_(rounded(parameter, WEIGHT_BITS))
            momentum = optimiser.state.get(parameter, {}).get("momentum_buffer")
            if momentum is not None:
                momentum.copy_(rounded(momentum, MOMENTUM_BITS))


def rounded(values: Tensor, bits: int) -> Tensor:
    """float32 values rounded to `bits` significant bits, halves away from zero."""
    dropped = 24 - bits
    whole = values.contiguous().view(torch.int32) + (1 << (dropped - 1))
    return (whole & -(1 << dropped)).view(torch.float32)
