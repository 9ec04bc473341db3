"""The story of train: source → scan → settings → surrogate. The first half of protect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._deadline import NEVER, Deadline, Keeping
from .config import CELL_SETTINGS, ProtectConfig, Size
from .engine import Runtime, choose_preset, make_runtime
from .engine.checkpoint import Checkpoint
from .engine.weights import load_tensors, narrowed, save_tensors
from .errors import OutputError, RunError, SettingError, TooManyRejects
from .forms import to_json, typed
from .noise import new_surrogate, train_surrogate
from .noise.views import make_view
from .presets import PICTURES, protect_config
from .progress import Event, Now, Progress, remarks, silent
from .shards.pixels import LONGEST
from .sources import (
    AUTO,
    Collection,
    Decoding,
    Source,
    SourceOptions,
    check_classes,
    open_source,
    parse_colour,
    scan,
    with_groups,
)


def train(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    max_rejects: float = 0.01,
    device: str = "auto",
    checkpoint_seconds: float = 20,
    options: SourceOptions | None = None,
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
    request = Request(preset, None, False, max_rejects, settings, options or SourceOptions(), progress)
    train_within(NEVER, source, out, request, runtime, checkpoint_seconds)
    return out


def train_within(
    deadline: Deadline, source: str | Path, out: Path, request: Request, runtime: Runtime, checkpoint_seconds: float
) -> None:
    """`train`, which may be told to stop in time. Raises `TimeIsUp` then, too."""
    check_settings(request, runtime)
    collection = scan_source(open_source(source, request.options), request, runtime)
    limit_rejects(len(collection.rejects), len(collection.source), request.max_rejects, "")
    check_classes(collection)
    config = begin_config(request, collection.size, runtime)
    if not config.has_surrogate:
        raise SettingError(f"method {config.method} has no surrogate to train; protect makes its noise directly")
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = out.with_name(out.name + ".checkpoint")
    train_to(
        runtime, collection, config, out, checkpoint, checkpoint_seconds, request.progress, deadline=deadline
    )  # fmt: skip


TRAINED_WITH = (
    "network", "steps", "batch", "lr", "lr_every", "momentum", "weight_decay", "label_noise", "warm_up", "cut_every",
    "draws", "steps_u", "alpha_u", "rho_a", "steps_a", "alpha_a", "rho_r", "views", "pad", "crop", "jpeg_safe",
    "quality", "method", "noise_step", "model_step", "noise_views",
)  # fmt: skip


_ALWAYS = {"label_noise": 0.0, "warm_up": 0.0, "cut_every": 0}  # of surrogates trained before these were settings


@dataclass(frozen=True)
class Request:
    """What the caller asked for, besides source and output."""

    preset: str
    surrogate: str | Path | None
    overwrite: bool
    max_rejects: float
    settings: Mapping[str, Any]
    options: SourceOptions
    progress: Progress

    def pictures(self) -> dict[str, Any]:
        """The settings of how pictures are read and written, those not given as they are by default."""
        return PICTURES | typed(
            ProtectConfig, {name: self.settings[name] for name in PICTURES if name in self.settings}
        )


def decoding_of(pictures: Mapping[str, Any]) -> Decoding:
    """How pictures are decoded by these settings. Raises `SettingError` for a colour that is none."""
    names = ("truncated", "max_pixels", "too_large", "keep_metadata")
    return Decoding(background=parse_colour(pictures["background"]), **{name: pictures[name] for name in names})


def scan_source(source: Source, request: Request, runtime: Runtime) -> Collection:
    """Decode every input once; where they have no labels, group them by their looks."""
    progress, pictures = request.progress, request.pictures()
    for sentence in source.remarks:
        progress(Event("scan", message=sentence))

    def advance(done: int, rejected: int) -> None:
        if done % 64 == 0 or done == len(source):
            progress(Event("scan", done, len(source), "images", {"rejected": rejected}))

    collection = scan(
        source, decoding_of(pictures), pictures["resolution"], duplicates=pictures["duplicates"],
        longest=LONGEST[pictures["format"]], advance=advance,
    )  # fmt: skip
    if collection.duplicates:
        what = "rejected" if pictures["duplicates"] == "reject" else "kept"
        progress(Event("scan", message=f"{collection.duplicates:,} images have the pixels of an earlier one: {what}"))
    for note, count in Counter(note.split(";")[0] for note in collection.notes.values()).most_common(5):
        progress(Event("scan", message=f"{count:,} images: {note}"))
    if not source.classes:
        _group(collection, pictures["groups"] or GROUPS, request, runtime)
    return collection


GROUPS = 10  # that --labels auto makes where --groups is not given
GROUP_MOST = 500_000  # images that are grouped, at most: their copies are in memory at once
GROUP_SIDE = 64  # pixels a side of the copies that photographs are grouped by


def _group(collection: Collection, groups: int, request: Request, runtime: Runtime) -> None:
    """Labels for images that have none: groups of images that look alike."""
    from .grouping import group_images

    usable, size = collection.usable, collection.size
    if len(usable) > GROUP_MOST:
        raise SettingError(f"--labels auto groups at most {GROUP_MOST:,} images, here are {len(usable):,}")
    own = bool(size and size[0] == size[1] <= GROUP_SIDE)
    side = size[0] if size and own else GROUP_SIDE
    images = torch.empty((len(usable), 3, side, side), dtype=torch.uint8)
    kept: list[int] = []
    for at in range(0, len(usable), 1024):
        pixels, some, gone = collection.stack(usable[at : at + 1024], 0 if own else side)
        images[len(kept) : len(kept) + len(some)] = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        kept += some.tolist()
        collection.rejects |= gone
        collection.sizes[list(gone)] = 0
    images = images[: len(kept)]
    seed = int(request.settings.get("seed", 0))
    found = group_images(runtime, images, groups, seed, progress=request.progress)
    names = tuple(f"group-{number:0{len(str(groups - 1))}d}" for number in range(groups))
    with_groups(collection, dict(zip(kept, found.labels.tolist(), strict=True)), names)
    request.progress(
        Event(
            "groups",
            message=f"experimental: {groups} groups of images that look alike stand for classes ({found.features})",
        )
    )


def check_settings(request: Request, runtime: Runtime) -> None:
    """Raise `SettingError` for settings that are impossible whatever the size of the images, before the long scan."""
    problem, quiet = None, replace(runtime, remark=lambda sentence: None)
    for size in ((32, 32), (256, 256)):
        try:
            begin_config(request, size, quiet)
        except SettingError as error:
            problem = problem or error
        else:
            return
    if problem:
        raise problem


def check_surrogate(request: Request, source: Source) -> None:
    """Raise `SettingError` where a given surrogate knows other classes than the source has, before the long scan."""
    if request.surrogate and source.classes:
        known = load_tensors(Path(request.surrogate))[1].get("classes")
        if known != list(source.classes):
            raise SettingError(
                f"{request.surrogate} was trained for classes {_few(known)}, here it is {_few(list(source.classes))}"
            )


def begin_config(request: Request, size: Size, runtime: Runtime) -> ProtectConfig:
    """The settings of a run: those given, those that a given surrogate was trained with, those of the preset."""
    preset, given = request.preset, dict(request.settings)
    if request.options.labels == AUTO:
        given = {"groups": GROUPS} | given
    elif given.get("groups"):
        raise SettingError("groups is for images without labels; say --labels auto")
    trained: dict[str, Any] = {}
    base: dict[str, Any] = {}
    if request.surrogate:
        about = load_tensors(Path(request.surrogate))[1]
        known = _ALWAYS | about["settings"]
        trained = {name: known[name] for name in TRAINED_WITH}
        preset = about["settings"]["preset"] if preset == "auto" else preset
        if preset == about["settings"]["preset"]:  # hardened views have draws of their own
            base["final_draws"] = about["settings"]["final_draws"]
    preset = choose_preset(preset, runtime)
    cell = ("method", *CELL_SETTINGS)
    asked = any(name in given for name in cell)  # then it is held against the trained one below
    base |= {name: value for name, value in trained.items() if not (asked and name in cell)}
    config = protect_config(preset, size, runtime.precision, base | given)
    make_view(config, size)
    decoding_of(to_json(config))
    if config.grey == "keep" and not config.has_surrogate:
        raise SettingError(f"method {config.method} has no grey noise; leave --grey keep out")
    for name, value in trained.items():
        if name == "quality" and not config.jpeg_safe:
            continue
        if getattr(config, name) != typed(ProtectConfig, {name: value})[name]:
            raise SettingError(f"{request.surrogate} was trained with {name} = {value}, not {to_json(config)[name]}")
    return config


def limit_rejects(rejected: int, inputs: int, max_rejects: float, where: str) -> None:
    """Raise `TooManyRejects` where more than the share `max_rejects` of the inputs is unusable."""
    if rejected > max_rejects * inputs:
        raise TooManyRejects(
            f"{rejected} of {inputs} inputs are unusable, more than --max-rejects {max_rejects:.2%} allows{where}"
        )


SQUASHED = 2  # sides of a view: that many pixels a side have the copies of photographs that a network is trained on


@dataclass(frozen=True)
class TrainingImages:
    """The usable images of a collection, as the training wants them: photographs squashed to `side` pixels a side."""

    collection: Collection
    numbers: NDArray[np.int64]
    side: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        images, labels, kept, rejects = tensors(self.collection, self.numbers[numbers.numpy()], self.side)
        if not len(kept):
            raise RunError(f"every image of a training batch is gone; the first: {next(iter(rejects.values()))}")
        return images, labels, torch.from_numpy(self.collection.sizes[kept]) if self.side else None


@dataclass(frozen=True)
class OnDevice:
    """All training images where the network is: uint8 (N, 3, H, W), labels (N,), sizes (N, 2) of squashed ones."""

    images: Tensor
    labels: Tensor
    sizes: Tensor | None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        there = numbers.to(self.labels.device, non_blocking=True)
        return self.images[there], self.labels[there], None if self.sizes is None else self.sizes[there]


def training_images(runtime: Runtime, collection: Collection, config: ProtectConfig) -> TrainingImages | OnDevice:
    """The usable images, on the device where they fit there and in memory."""
    numbers, size = collection.usable, collection.size
    side = 0 if size else SQUASHED * config.crop
    height, width = size or (side, side)
    data = TrainingImages(collection, numbers, side)
    needed = len(numbers) * height * width * 3
    there = collection.in_memory if size else needed <= collection.cache.most
    if runtime.device.type == "cpu" or not there or not runtime.fits(needed):
        return data
    images, labels, sizes = data.batch(torch.arange(len(numbers)))
    device = runtime.device
    return OnDevice(images.to(device), labels.to(device), None if sizes is None else sizes.to(device))


def tensors(
    collection: Collection, numbers: NDArray[np.int64], squashed: int = 0
) -> tuple[Tensor, Tensor, NDArray[np.int64], dict[int, str]]:
    """uint8 (n, 3, H, W) and int64 labels of those inputs that can be had; which these are; why not the others."""
    pixels, kept, rejects = collection.stack(numbers, squashed)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))  # torch would start threads here, and they spin
    return torch.from_numpy(planes), labels_of(collection, kept), kept, rejects


def labels_of(collection: Collection, numbers: NDArray[np.int64]) -> Tensor:
    """int64 labels of inputs."""
    return torch.from_numpy(collection.labels[numbers].astype(np.int64))


def load_surrogate(
    runtime: Runtime, collection: Collection, config: ProtectConfig, path: Path, named: Path
) -> nn.Module:
    """The surrogate in `path`, which the caller knows as `named`. Raises `SettingError` if it is for other images."""
    weights, about = load_tensors(path)
    wanted = about_surrogate(config, collection)
    for name in ("network", "classes", "seen"):
        if about.get(name) != wanted[name]:
            raise SettingError(
                f"{named} was trained for {name} {_few(about.get(name))}, here it is {_few(wanted[name])}"
            )
    model = new_surrogate(config, len(collection.classes), collection.size, runtime)
    model.load_state_dict(weights)
    return model


def _few(value: Any) -> str:
    """A value in an error message: of a long list its first items."""
    return f"{value[:5]} and {len(value) - 5} more" if isinstance(value, list) and len(value) > 5 else str(value)


def about_surrogate(config: ProtectConfig, collection: Collection) -> dict[str, Any]:
    """What a file of weights says of itself."""
    seen = list(make_view(config, collection.size)[1])
    return {
        "network": config.network, "classes": list(collection.classes), "seen": seen,
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
    deadline: Deadline = NEVER,
) -> nn.Module:
    """Train a surrogate, from `checkpoint` on where there is one, and write it to `out`.

    After the steps in `keep` it is written to the path there, too, as if its training had ended then. Raises
    `TimeIsUp`, a checkpoint written, where the `deadline` comes first.
    """
    data = training_images(runtime, collection, config)
    about = about_surrogate(config, collection) | {"images": collection.source.digest}
    begin = Checkpoint()
    if checkpoint.exists():
        weights, found = load_tensors(checkpoint)
        step = found.pop("step")
        if found != about:
            raise OutputError(f"{checkpoint} belongs to a training with other settings or images; delete it")
        begin = Checkpoint(step, weights)
        progress(Event("surrogate", message=f"the training goes on from step {step}"))
    keeping, show = Keeping("the surrogate", deadline, checkpoint_seconds), Now()

    def after_step(done: int, loss: Tensor, snapshot: Any) -> None:
        if done in keep:
            save_tensors(keep[done], model.state_dict(), about_surrogate(replace(config, steps=done), collection))
        keeping.after(
            done, config, lambda: save_tensors(checkpoint, narrowed(snapshot().tensors), about | {"step": done})
        )
        if show(done == config.steps):
            figures = {"loss": float(loss), "batch": config.batch}
            progress(Event("surrogate", done, config.steps, "steps", figures))

    model = new_surrogate(config, len(collection.classes), collection.size, runtime)
    view, _ = make_view(config, collection.size)
    progress(Event("surrogate", begin.step, config.steps, "steps"))
    train_surrogate(runtime, model, data, view, config, begin=begin, after_step=after_step)
    trained = model.state_dict()
    save_tensors(out, narrowed(trained) if config.cut_every else trained, about_surrogate(config, collection))
    checkpoint.unlink(missing_ok=True)
    return model
