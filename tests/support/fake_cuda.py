"""Tensors on a GPU that is not there: shapes, dtypes and devices without values (torch's FakeTensorMode).

The device is called meta. Torch fakes CUDA devices, too, but its autograd asks the driver about them.
"""

import sys
import warnings
from contextlib import contextmanager, nullcontext

import torch
import torch._functorch.config
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from semshard.engine import Runtime, captured
from semshard.noise.views import constants, low_pass

GPU = torch.device("meta")
# Without a reproducible form on a GPU; the list is that of torch.use_deterministic_algorithms.
IRREPRODUCIBLE = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward",
    "avg_pool3d_backward", "fractional_max_pool2d_backward", "max_unpool2d", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "_upsample_bilinear2d_aa_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "nll_loss2d_forward", "put", "put_", "histc",
    "bincount", "median.dim", "grid_sampler_2d_backward", "kthvalue",
}  # fmt: skip


class Watch(TorchDispatchMode):
    """Counts what a GPU would have to do, and what it could not do reproducibly."""

    def __init__(self):
        super().__init__()
        self.calls, self.crossings, self.unseeded, self.irreproducible = 0, [], [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.name().removeprefix("aten::")
        self.calls += 1
        if {name, name.split(".")[0]} & IRREPRODUCIBLE:
            self.irreproducible.append(name)
        if torch.Tag.nondeterministic_seeded in func.tags and (kwargs or {}).get("generator") is None:
            self.unseeded.append(name)
        devices = {each.device for each in tree_leaves((args, out)) if isinstance(each, torch.Tensor)}
        if len(devices) > 1:
            self.crossings.append((name, *sorted(map(str, devices))))
        return out


class FakeRuntime(Runtime):
    """A runtime on a GPU that is not there."""

    def _moved(self, model):
        """The model with fake parameters on the device: torch cannot move those that it has."""
        for module in model.modules():
            for name, value in module.named_parameters(recurse=False):
                module._parameters[name] = nn.Parameter(self._fake(value), value.requires_grad)
            for name, value in module.named_buffers(recurse=False):
                module._buffers[name] = self._fake(value)
        return model

    def _fake(self, value):
        layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
        return torch.empty(value.shape, dtype=value.dtype, device=self.device, memory_format=layout)


class OnHost(torch.Generator):
    """A stream of the host's in the place of one of a GPU."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")


@contextmanager
def fake_cuda(monkeypatch):
    """Within it tensors may be on `GPU`, which computes nothing: reading a value fails, as does mixing devices."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "Generator", OnHost)
        patch.setattr(captured, "TRIES", 0)  # nothing is captured
        patch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # there is none for this device
        patch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: [GPU.type])
        patch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, raising=False)
        tensor = torch.tensor
        patch.setattr(torch, "tensor", lambda *args, device=None, **kwargs: tensor(*args, **kwargs).to(device or "cpu"))
        library = torch.library.Library("aten", "IMPL")
        library.impl("_fused_sgd_", lambda *args, **kwargs: None, "Meta")
        allowed = torch._functorch.config.patch(fake_tensor_allow_meta=True)
        with warnings.catch_warnings(), _no_constants(), allowed, FakeTensorMode():
            warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # a deep copy looks at it
            yield
        library._destroy()


@contextmanager
def _no_constants():
    """Within it, and after it, constants are made anew."""
    caches = constants._kept, low_pass._down_up
    try:
        for each in caches:
            each.cache_clear()
        yield
    finally:
        for each in caches:
            each.cache_clear()
