"""The story of train: source → scan → settings → surrogate. The first half of protect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..engine import Runtime, make_runtime
from ..engine.checkpoint import Checkpoint
from ..engine.deadline import NEVER, Autosave, Deadline
from ..engine.weights import bfloat16_where_exact, load_tensors, save_tensors
from ..errors import OutputError, SettingError
from ..noise import new_surrogate, train_surrogate
from ..noise.views import make_view
from ..progress import Event, Progress, Throttle, remarks, silent
from ..settings import ProtectConfig, to_json
from ..sources import Collection, SourceOptions, check_classes, open_source
from .request import Request, _few, begin_config, check_settings
from .scan import limit_rejects, scan_source
from .training_images import training_images


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
    keeping, show = Autosave("the surrogate", deadline, checkpoint_seconds), Throttle()

    def after_step(done: int, loss: Tensor, snapshot: Any) -> None:
        if done in keep:
            save_tensors(keep[done], model.state_dict(), about_surrogate(replace(config, steps=done), collection))
        keeping.after(
            done,
            config,
            lambda: save_tensors(checkpoint, bfloat16_where_exact(snapshot().tensors), about | {"step": done}),
        )
        if show(done == config.steps):
            figures = {"loss": float(loss), "batch": config.batch}
            progress(Event("surrogate", done, config.steps, "steps", figures))

    model = new_surrogate(config, len(collection.classes), collection.size, runtime)
    view, _ = make_view(config, collection.size)
    progress(Event("surrogate", begin.step, config.steps, "steps"))
    train_surrogate(runtime, model, data, view, config, begin=begin, after_step=after_step)
    trained = model.state_dict()
    save_tensors(
        out, bfloat16_where_exact(trained) if config.round_every else trained, about_surrogate(config, collection)
    )
    checkpoint.unlink(missing_ok=True)
    return model
