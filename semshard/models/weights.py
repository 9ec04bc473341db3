"""Weights trained on other images, for victims that start from them: safetensors, or torchvision's own from its cache.

Nothing is downloaded, and a pickle is loaded only if its SHA-256 begins as torchvision's file name says.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingError

Numbers = tuple[float, float, float]
_PIXELS = ("mean", "std")


@dataclass(frozen=True)
class Weights:
    """A network's tensors by name, where they come from, and the pixels that their network needs."""

    name: str
    tensors: dict[str, Tensor]
    mean: Numbers = (0.5, 0.5, 0.5)
    std: Numbers = (1.0, 1.0, 1.0)

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of names, values and what is done to the pixels."""
        digest = hashlib.sha256(repr((self.mean, self.std)).encode())
        for name, tensor in sorted(self.tensors.items()):
            digest.update(name.encode() + tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def read_weights(text: str) -> Weights:
    """The weights in a safetensors file, or those of a torchvision name like ResNet18_Weights.IMAGENET1K_V1.

    A safetensors file may say in its metadata how pixels in [0, 1] are normalised: `mean` and `std`, JSON lists of
    three numbers; without them its network takes pixel − 0.5, as ours do. torchvision's weights bring their own.

    Raises `SettingError` where the file cannot be read, or the name is not in torchvision's cache.
    """
    from safetensors import SafetensorError, safe_open

    if re.fullmatch(r"\w+_Weights\.\w+", text) and not text.endswith(".safetensors"):
        return _from_torchvision(text)
    try:
        with safe_open(text, framework="pt") as file:
            pixels = {name: json.loads(value) for name, value in (file.metadata() or {}).items() if name in _PIXELS}
            tensors = {name.removeprefix("net."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Weights(Path(text).name, tensors, **{name: _three(value) for name, value in pixels.items()})
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise SettingError(f"{text} is not a safetensors file with weights ({error})") from None


def _three(value: Any) -> Numbers:
    red, green, blue = map(float, value)
    return red, green, blue


def _from_torchvision(text: str) -> Weights:
    from torchvision.models import get_weight

    try:
        weight = get_weight(text)
    except (ValueError, AttributeError, KeyError):
        raise SettingError(f"torchvision has no weights {text!r}") from None
    path = Path(torch.hub.get_dir()) / "checkpoints" / weight.url.rpartition("/")[2]
    if not path.is_file():
        raise SettingError(
            f"{text} is not in torchvision's cache; semshard downloads nothing: put {weight.url} at {path}"
        )
    prefix = path.stem.rpartition("-")[2]  # resnet18-f37072fd.pth: the first digits of its SHA-256
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(prefix):
            raise SettingError(f"{path} is not the file that its name says: its SHA-256 does not begin with {prefix}")
    seen = weight.transforms()
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    # DenseNets were saved when their layers were called norm.1, as torchvision also handles
    modern = {re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name): value for name, value in tensors.items()}
    return Weights(text, modern, _three(seen.mean), _three(seen.std))


def head(net: nn.Module) -> tuple[str, nn.Linear]:
    """The layer that scores classes: the last linear one, and its name."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)][-1]


def fit(net: nn.Module, weights: Weights) -> str:
    """Load `weights` into all of `net` but its head. Returns what does not fit, as text; empty where all does."""
    new = head(net)[0] + "."
    needed = {name: value for name, value in net.state_dict().items() if not name.startswith(new)}
    missing = [name for name in needed if name not in weights.tensors and not name.endswith("num_batches_tracked")]
    if missing:
        return f"{len(missing)} tensors are missing, {missing[0]} among them"
    for name, value in needed.items():
        given = weights.tensors.get(name, value)
        if given.shape != value.shape:
            return f"{name} is {tuple(given.shape)}, the network's is {tuple(value.shape)}"
    net.load_state_dict({n: weights.tensors[n] for n in needed if n in weights.tensors}, strict=False)
    return ""
