"""The kinds of defensive noise behind one interface: a file per family, and a table that explains them."""

from __future__ import annotations

from torch import nn

from ...engine import FoldedNetwork, Runtime
from ...settings import Method, ProtectConfig, Size, method_plugin
from ..two_networks import MixedNetwork, TwoNetworks
from ..views import make_view, noise_view
from .added import added_methods, make_added
from .error_minimising import FromSurrogate
from .ntga import HELD_OUT, ONE_SIZE, HeldOut, Ntga, check_block
from .protocol import Noise
from .push import Push
from .shortcut import Shortcut
from .table import METHODS, Cost, cost
from .tap import Tap
from .views_first import ViewsFirst

__all__ = [
    "HELD_OUT", "METHODS", "Cost", "ONE_SIZE", "HeldOut", "Method", "Noise", "added_methods", "check_block", "cost",
    "make_noise",
]  # fmt: skip


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
    if added := method_plugin(config.method):
        return make_added(added, config, classes, size, runtime.device, model)
    if config.method == "sc":
        return Shortcut(config, classes, size)
    if config.method == "ntga":
        assert held_out is not None
        return Ntga(runtime, config, classes, held_out)
    assert model is not None
    view, network = make_view(config, size)[0], _network(runtime, model, classes)
    inner = noise_view(view, config.final())
    if config.method == "tap":
        return Tap(runtime, network, inner, config, classes)
    if config.method == "push":
        return Push(runtime, network, inner, config, classes)
    if config.views_first:
        return ViewsFirst(runtime, network, inner, config, view)
    return FromSurrogate(runtime, network, inner, config)


def _network(runtime: Runtime, model: nn.Module, classes: int) -> FoldedNetwork:
    return MixedNetwork(runtime, model, classes) if isinstance(model, TwoNetworks) else runtime.folded(model)
