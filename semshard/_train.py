"""The story of train: source → scan → settings → surrogate. The first half of protect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import CELL_SETTINGS, ProtectConfig, to_json
from .engine import Runtime, choose_preset, make_runtime
from .engine.weights import load_tensors, save_tensors
from .errors import OutputError, RunError, SettingError, TooManyRejects
from .noise import Checkpoint, new_surrogate, train_surrogate
from .noise.views import make_view
from .presets import protect_config
from .progress import Event, Now, Progress, remarks, silent
from .sources import Collection, Source, open_source, scan


def train(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    max_rejects: float = 0.01,
    device: str = "auto",
    checkpoint_seconds: float = 20,
    progress: Progress = silent,
    **settings: Any,
) -> Path:
    """Train a surrogate on the images at `source` and write it to the file `out` (safetensors); returns its path.

    An interrupted training goes on from `<out>.checkpoint`, with the same result. Raises as `protect` does, and
    `OutputError` where `out` exists.
    """
    out = Path(out)
    if out.exists():
        raise OutputError(f"{out} exists; delete it, or choose another name")
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    request = Request(preset, None, False, max_rejects, settings, progress)
    check_settings(request, runtime)
    collection = scan_source(open_source(source), settings, progress)
    limit_rejects(len(collection.rejects), len(collection.source), max_rejects, "")
    config = begin_config(request, collection.size, runtime)
    if not config.has_surrogate:
        raise SettingError(f"method {config.method} has no surrogate to train; protect makes its noise directly")
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.with_name(out.name + ".checkpoint")
    train_to(runtime, collection, config, out, checkpoint, checkpoint_seconds, progress)
    return out


TRAINED_WITH = (
    "network", "steps", "batch", "lr", "lr_every", "momentum", "weight_decay", "draws", "steps_u", "alpha_u",
    "rho_a", "steps_a", "alpha_a", "rho_r", "views", "pad", "crop", "method", "noise_step", "model_step", "noise_views",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What the caller asked for, besides source and output."""

    preset: str
    surrogate: str | Path | None
    overwrite: bool
    max_rejects: float
    settings: Mapping[str, Any]
    progress: Progress


def scan_source(source: Source, settings: Mapping[str, Any], progress: Progress) -> Collection:
    """Decode every input once."""

    def advance(done: int, rejected: int) -> None:
        if done % 64 == 0 or done == len(source):
            progress(Event("scan", done, len(source), "images", {"rejected": rejected}))

    resolution = settings.get("resolution", 0)
    if not isinstance(resolution, int) or resolution < 0:
        raise SettingError(f"resolution = {resolution!r} is no whole number of pixels")
    return scan(source, resolution, advance=advance)


def check_settings(request: Request, runtime: Runtime) -> None:
    """Raise `SettingError` for settings that are impossible whatever the size of the images, before the long scan."""
    problem, quiet = None, replace(runtime, remark=lambda sentence: None)
    for size in ((32, 32), (256, 256)):
        try:
            begin_config(request, size, quiet)
        except SettingError as error:
            problem = error
        else:
            return
    if problem:
        raise problem


def begin_config(request: Request, size: tuple[int, int], runtime: Runtime) -> ProtectConfig:
    """The settings of a run: those given, those that a given surrogate was trained with, those of the preset."""
    preset, given = request.preset, dict(request.settings)
    trained: dict[str, Any] = {}
    if request.surrogate:
        about = load_tensors(Path(request.surrogate))[1]
        trained = {name: about["settings"][name] for name in TRAINED_WITH}
        preset = about["settings"]["preset"] if preset == "auto" else preset
    preset = choose_preset(preset, runtime)
    cell = ("method", *CELL_SETTINGS)
    asked = any(name in given for name in cell)  # then it is held against the trained one below
    base = {name: value for name, value in trained.items() if not (asked and name in cell)}
    config = protect_config(preset, size, runtime.precision, base | given)
    for name, value in trained.items():
        if to_json(config)[name] != value:
            raise SettingError(f"{request.surrogate} was trained with {name} = {value}, not {to_json(config)[name]}")
    return config


def limit_rejects(rejected: int, inputs: int, max_rejects: float, where: str) -> None:
    """Raise `TooManyRejects` where more than the share `max_rejects` of the inputs is unusable."""
    if rejected > max_rejects * inputs:
        raise TooManyRejects(
            f"{rejected} of {inputs} inputs are unusable, more than --max-rejects {max_rejects:.2%} allows{where}"
        )


@dataclass(frozen=True)
class TrainingImages:
    """The usable images of a collection, as the training wants them."""

    collection: Collection
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        images, labels, kept, rejects = tensors(self.collection, self.numbers[numbers.numpy()])
        if not len(kept):
            raise RunError(f"every image of a training batch is gone; the first: {next(iter(rejects.values()))}")
        return images, labels


@dataclass(frozen=True)
class OnDevice:
    """All training images where the network is: uint8 (N, 3, H, W) and int64 labels (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        there = numbers.to(self.labels.device, non_blocking=True)
        return self.images[there], self.labels[there]


def training_images(runtime: Runtime, collection: Collection) -> TrainingImages | OnDevice:
    """The usable images, on the device where they are in memory anyway and fit there, too."""
    numbers = collection.usable
    height, width = collection.size
    if runtime.device.type == "cpu" or not collection.in_memory or not runtime.fits(len(numbers) * height * width * 3):
        return TrainingImages(collection, numbers)
    images, labels, _, _ = tensors(collection, numbers)
    return OnDevice(images.to(runtime.device), labels.to(runtime.device))


def tensors(
    collection: Collection, numbers: NDArray[np.int64]
) -> tuple[Tensor, Tensor, NDArray[np.int64], dict[int, str]]:
    """uint8 (n, 3, H, W) and int64 labels of those inputs that can be had; which these are; why not the others."""
    pixels, kept, rejects = collection.stack(numbers)
    labels = torch.tensor([collection.label(int(number)) for number in kept], dtype=torch.int64)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))  # torch would start threads here, and they spin
    return torch.from_numpy(planes), labels, kept, rejects


def load_surrogate(
    runtime: Runtime, collection: Collection, config: ProtectConfig, path: Path, named: Path
) -> nn.Module:
    """The surrogate in `path`, which the caller knows as `named`. Raises `SettingError` if it is for other images."""
    weights, about = load_tensors(path)
    wanted = about_surrogate(config, collection)
    for name in ("network", "classes", "seen"):
        if about.get(name) != wanted[name]:
            raise SettingError(f"{named} was trained for {name} {about.get(name)}, here it is {wanted[name]}")
    model = new_surrogate(config, len(collection.source.classes), collection.size, runtime)
    model.load_state_dict(weights)
    return model


def about_surrogate(config: ProtectConfig, collection: Collection) -> dict[str, Any]:
    """What a file of weights says of itself."""
    seen = list(make_view(config, collection.size)[1])
    return {
        "network": config.network, "classes": list(collection.source.classes), "seen": seen,
        "settings": to_json(config),
    }  # fmt: skip


def train_to(
    runtime: Runtime,
    collection: Collection,
    config: ProtectConfig,
    out: Path,
    checkpoint: Path,
    checkpoint_seconds: float,
    progress: Progress,
    keep: Mapping[int, Path] = MappingProxyType({}),
) -> nn.Module:
    """Train a surrogate, from `checkpoint` on where there is one, and write it to `out`.

    After the steps in `keep` it is written to the path there, too, as if its training had ended then.
    """
    data = training_images(runtime, collection)
    about = about_surrogate(config, collection) | {"images": collection.source.digest}
    begin = Checkpoint()
    if checkpoint.exists():
        weights, found = load_tensors(checkpoint)
        step = found.pop("step")
        if found != about:
            raise OutputError(f"{checkpoint} belongs to a training with other settings or images; delete it")
        begin = Checkpoint(step, weights)
        progress(Event("surrogate", message=f"the training goes on from step {step}"))
    saved = time.monotonic()
    show = Now()

    def after_step(done: int, loss: Tensor, snapshot: Any) -> None:
        nonlocal saved
        if done in keep:
            save_tensors(keep[done], model.state_dict(), about_surrogate(replace(config, steps=done), collection))
        if done < config.steps and time.monotonic() - saved >= checkpoint_seconds:
            save_tensors(checkpoint, snapshot().tensors, about | {"step": done})
            saved = time.monotonic()
        if show(done == config.steps):
            figures = {"loss": float(loss), "batch": config.batch}
            progress(Event("surrogate", done, config.steps, "steps", figures))

    model = new_surrogate(config, len(collection.source.classes), collection.size, runtime)
    view, _ = make_view(config, collection.size)
    progress(Event("surrogate", begin.step, config.steps, "steps"))
    train_surrogate(runtime, model, data, view, config, begin=begin, after_step=after_step)
    save_tensors(out, model.state_dict(), about_surrogate(config, collection))
    checkpoint.unlink(missing_ok=True)
    return model
