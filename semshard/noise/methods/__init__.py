"""The kinds of defensive noise behind one interface: a file per family, and a table that explains them."""

from __future__ import annotations

from torch import nn

from ...engine import Runtime
from ...settings import ProtectConfig, Size
from ..views import make_view, noise_view
from .error_minimising import FromSurrogate
from .ntga import HELD_OUT, ONE_SIZE, HeldOut, Ntga, check_block
from .protocol import Noise
from .shortcut import Shortcut
from .table import METHODS, Cost, Method, cost
from .tap import Tap

__all__ = ["HELD_OUT", "METHODS", "Cost", "ONE_SIZE", "HeldOut", "Method", "Noise", "check_block", "cost", "make_noise"]


def make_noise(
    runtime: Runtime,
    config: ProtectConfig,
    classes: int,
    size: Size,
    *,
    model: nn.Module | None = None,
    held_out: HeldOut | None = None,
) -> Noise:
    """The noise of `config.method` for images of `size`.

    A method with a surrogate takes the trained `model`, NTGA the clean images outside a block, `held_out`.
    """
    if config.method == "sc":
        return Shortcut(config, classes, size)
    if config.method == "ntga":
        assert held_out is not None
        return Ntga(runtime, config, classes, held_out)
    assert model is not None
    view, network = noise_view(make_view(config, size)[0], config), runtime.folded(model)
    if config.method == "tap":
        return Tap(runtime, network, view, config, classes)
    return FromSurrogate(runtime, network, view, config)
