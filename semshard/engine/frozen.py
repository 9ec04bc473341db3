"""A network at rest: batch norm with frozen statistics folded into the convolutions, no parameter gradients.

In evaluation mode a convolution followed by batch norm is again a convolution, with weight w·γ/σ and bias
β − μ·γ/σ. Folding costs microseconds, the passes it saves are a third of a forward and backward pass on a CPU. The
network itself is left as it is, in whatever mode it is in.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

_TRACES: WeakKeyDictionary[nn.Module, tuple[fx.GraphModule, dict[str, str]]] = WeakKeyDictionary()


def trace(model: nn.Module) -> tuple[fx.GraphModule, dict[str, str]]:
    """The graph of `model` without the batch norms that follow a convolution, and which follows which, by name."""
    if model not in _TRACES:
        graph = fx.symbolic_trace(copy.deepcopy(model).eval())
        modules = dict(graph.named_modules())
        pairs: dict[str, str] = {}
        for node in list(graph.graph.nodes):
            before = node.args[0] if node.op == "call_module" else None
            if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
                continue
            conv, norm = modules[str(before.target)], modules[str(node.target)]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                pairs[str(before.target)] = str(node.target)
                conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
                node.replace_all_uses_with(before)
                graph.graph.erase_node(node)
        graph.delete_all_unused_submodules()
        graph.recompile()
        _TRACES[model] = graph, pairs
    return _TRACES[model]


@torch.no_grad()
def folded_weights(model: nn.Module, pairs: Mapping[str, str], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The tensors that the graph of `trace` computes with, detached; in `dtype` where one is given."""
    state = model.state_dict()
    norms = set(pairs.values())
    weights = {name: value for name, value in state.items() if name.rpartition(".")[0] not in norms}
    for conv, norm in pairs.items():
        module = model.get_submodule(norm)
        assert isinstance(module, nn.BatchNorm2d)
        scale = state[f"{norm}.weight"] * torch.rsqrt(state[f"{norm}.running_var"] + module.eps)
        mean = state[f"{norm}.running_mean"] - state.get(f"{conv}.bias", 0)
        weights[f"{conv}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
        weights[f"{conv}.bias"] = state[f"{norm}.bias"] - mean * scale
    return {name: value.to(dtype) if dtype and value.is_floating_point() else value for name, value in weights.items()}
