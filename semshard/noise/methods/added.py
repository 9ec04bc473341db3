"""Methods of plugins: loaded when they are used, and held to the budget at every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import RunError, SettingError
from ...plugins import Plugin, loaded
from ...settings import METHODS, Method, ProtectConfig, Size, levels
from .protocol import Noise, Photo


def load_method(plugin: Plugin) -> Method:
    """The method of a plugin. Raises `SettingError` where it is none."""
    method = plugin.load(Method)
    if method.make is None:
        raise SettingError(f"{plugin} has no make, the function that returns its noise")
    return method


def added_methods() -> tuple[list[Method], list[str]]:
    """The methods that packages add, and why others of theirs cannot be used."""
    return loaded("methods", METHODS, load_method)


def make_added(
    plugin: Plugin, config: ProtectConfig, classes: int, size: Size, device: torch.device, model: nn.Module | None
) -> Noise:
    """The noise of a plugin's method. Raises `RunError`, which names the plugin, for whatever goes wrong in it."""
    make = load_method(plugin).make
    assert make is not None
    noise = plugin.guarded(make, RunError)(config=config, classes=classes, size=size, device=device, model=model)
    if not callable(noise):
        raise RunError(f"{plugin}: make returned a {type(noise).__name__}, not a Noise")
    return _Checked(plugin, noise, config)


class _Checked:
    """The noise of a plugin within the promises of `Noise`."""

    def __init__(self, plugin: Plugin, noise: Any, config: ProtectConfig) -> None:
        self._plugin, self._noise, self._most = plugin, noise, levels(config.rho_u)

    def __call__(self, images: Tensor, labels: Tensor, numbers: NDArray[np.int64], shard: int, at: int) -> Tensor:
        found = self._plugin.guarded(self._noise, RunError)(images.clone(), labels.clone(), numbers.copy(), shard, at)
        if not isinstance(found, Tensor) or found.dtype != torch.int8 or found.shape != images.shape:
            raise RunError(f"{self._plugin}: the noise of a batch must be int8 of shape {tuple(images.shape)}")
        if int(found.to(torch.int16).abs().max()) > self._most:
            raise RunError(f"{self._plugin}: its noise exceeds the budget of {self._most}/255")
        return found.cpu()

    def photos(self, photos: Sequence[Photo], labels: Tensor, shard: int, at: int) -> list[Photo]:
        if not hasattr(self._noise, "photos"):
            raise SettingError(f"{self._plugin} needs images of one size; give --resolution N to bring all to N × N")
        copies = [photo.copy() for photo in photos]
        found = self._plugin.guarded(self._noise.photos, RunError)(copies, labels.clone(), shard, at)
        shapes = [(np.shape(photo), getattr(photo, "dtype", None)) for photo in found]
        if shapes != [(photo.shape, np.dtype(np.uint8)) for photo in photos]:
            raise RunError(f"{self._plugin}: protected photographs must be uint8 of the shapes they had")
        for protected, photo in zip(found, photos, strict=True):
            if int(np.abs(np.subtract(protected, photo, dtype=np.int16)).max()) > self._most:
                raise RunError(f"{self._plugin}: its noise exceeds the budget of {self._most}/255")
        return list(found)
