"""The story of train: source → scan → settings → surrogate. The first half of protect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..engine import (
    NEVER,
    Autosave,
    Checkpoint,
    Deadline,
    Runtime,
    bfloat16_where_exact,
    joined,
    load_tensors,
    save_tensors,
)
from ..errors import OutputError, SettingError
from ..noise import NamedNetwork, SurrogateTraining, initial_noise, networks_of, new_surrogate
from ..noise.views import make_view
from ..progress import Event, Progress, Throttle, silent
from ..settings import ProtectConfig, to_json
from ..sources import Collection, SourceOptions
from ..storage import local_path
from .request import Request, in_short
from .scan import check_collection
from .together import check_alike, scan_once
from .training_images import squashed_side, training_images


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

    An interrupted training continues from `<out>.checkpoint`, with the same result. Raises as `protect` does, and
    `OutputError` where `out` exists.

    Processes that torchrun has started train one surrogate together: each has to make this call. The first of them
    alone reads and writes `out` and its checkpoint, and reports `progress`.
    """
    out = local_path(out, "out")
    with joined(device) as (ranks, own_device):
        progress = progress if ranks.is_first else silent
        request = Request(
            source, preset, max_rejects=max_rejects, device=own_device, checkpoint_seconds=checkpoint_seconds,
            options=options or SourceOptions(), progress=progress, settings=settings,
        )  # fmt: skip
        ranks.from_first(partial(_refuse_existing, out))
        opened, runtime = request.open(), replace(request.runtime(), ranks=ranks)
        request.check(opened, runtime)
        collection = scan_once(opened, request, runtime, ranks)
        check_collection(collection, request)
        config = request.config(collection.size, runtime)
        if not config.has_surrogate:
            raise SettingError(f"method {config.method} has no surrogate to train; protect makes its noise directly")
        ranks.check_parts(config.batch, runtime.device)
        check_alike(ranks, runtime, about_surrogate(config, collection))
        if ranks.is_first:
            out.parent.mkdir(parents=True, exist_ok=True)
        files = SurrogateFiles(out, out.with_name(out.name + ".checkpoint"), checkpoint_seconds)
        train_surrogate(runtime, collection, config, files, progress)
        return out


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise OutputError(f"{out} exists; delete it, or choose another name")


@dataclass(frozen=True)
class SurrogateFiles:
    """Where a training writes: the surrogate, and its state while it is unfinished, every so many seconds.

    After the steps in `keep` the surrogate is written to the path there, too, as if its training had ended then.
    `saved` hears of every file that another process can continue from.
    """

    surrogate: Path
    checkpoint: Path
    every: float = 20
    keep: Mapping[int, Path] = field(default_factory=dict)
    saved: Callable[[Path], None] = lambda path: None

    def of(self, name: str) -> SurrogateFiles:
        """Where an earlier network of the surrogate is trained, to be kept until all are."""
        surrogate = self.surrogate.with_name(f"{self.surrogate.stem}.{name}{self.surrogate.suffix}")
        return replace(self, surrogate=surrogate, keep={})


def train_surrogate(
    runtime: Runtime,
    collection: Collection,
    config: ProtectConfig,
    files: SurrogateFiles,
    progress: Progress = silent,
    deadline: Deadline = NEVER,
) -> nn.Module:
    """Train a surrogate, from its checkpoint on where there is one, and write it. Raises `TimeIsUp`, a checkpoint
    written, where the `deadline` comes first.

    Among several ranks of the `runtime` the first one alone reads and writes the files.
    """
    model, ranks = new_surrogate(config, len(collection.classes), collection.size, runtime), runtime.ranks
    networks = networks_of(model, config)
    total, before = sum(network.config.steps for network in networks), 0
    for network in networks:
        last, about = network is networks[-1], about_surrogate(network.config, collection)
        file = files if last else files.of(network.name)

        def report(done: int, loss: float | None = None, before: int = before) -> None:
            figures = {} if loss is None else {"loss": loss, "batch": config.batch}
            progress(Event("surrogate", before + done, total, "steps", figures))

        trained = None if last else ranks.from_first(partial(_weights, file.surrogate, about))
        if trained is not None:
            network.model.load_state_dict(trained)
        else:
            _train_network(runtime, collection, network, file, report, progress, deadline)
            if not last:
                ranks.from_first(partial(save_tensors, file.surrogate, network.model.state_dict(), about))
                ranks.from_first(partial(files.saved, file.surrogate))
        before += network.config.steps

    def finish() -> None:
        weights = model.state_dict()
        weights = bfloat16_where_exact(weights) if config.round_every else weights
        save_tensors(files.surrogate, weights, about_surrogate(config, collection))
        for network in networks[:-1]:
            files.of(network.name).surrogate.unlink(missing_ok=True)
        files.checkpoint.unlink(missing_ok=True)

    ranks.from_first(finish)
    return model


def _train_network(
    runtime: Runtime,
    collection: Collection,
    network: NamedNetwork,
    files: SurrogateFiles,
    report: Callable[..., None],
    progress: Progress,
    deadline: Deadline,
) -> None:
    """Train one network of a surrogate, from its checkpoint on where there is one."""
    config, model, ranks = network.config, network.model, runtime.ranks
    about = about_surrogate(config, collection) | {"images": collection.source.digest}
    begin = ranks.from_first(partial(_checkpoint, files.checkpoint, about))
    if begin.step:
        progress(Event("surrogate", message=f"the training continues from step {begin.step}"))
    throttle = Throttle(runtime.report_seconds)

    def save(state: Checkpoint) -> None:
        save_tensors(files.checkpoint, bfloat16_where_exact(state.tensors), about | {"step": state.step})
        files.saved(files.checkpoint)

    def after_step(done: int, loss: Tensor) -> None:
        if done in files.keep and ranks.is_first:
            shorter = about_surrogate(replace(config, steps=done), collection)
            save_tensors(files.keep[done], model.state_dict(), shorter)
        if throttle(done == config.steps):
            report(done, float(loss))

    report(begin.step)
    data = training_images(runtime, collection, config)
    side = squashed_side(collection, config)
    kept = initial_noise(config, len(data), collection.size or (side, side), runtime)
    training = SurrogateTraining.of(runtime, model, make_view(config, collection.size)[0], config, kept)
    autosave = Autosave("the surrogate", save, files.every, deadline) if ranks.is_first else None
    training.run(data, begin=begin, after_step=after_step, autosave=autosave)
    if ranks.is_first:
        files.checkpoint.unlink(missing_ok=True)


def _weights(path: Path, about: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Those in the file; None where there is none. Raises `OutputError` where they are of another training."""
    if not path.exists():
        return None
    weights, written = load_tensors(path)
    if written != about:
        raise OutputError(f"{path} belongs to a training with other settings or images; delete it")
    return weights


def _checkpoint(path: Path, about: Mapping[str, Any]) -> Checkpoint:
    """The state in the file; the beginning of a training where there is none. Raises `OutputError` where it is that of
    another training.
    """
    if not path.exists():
        return Checkpoint()
    tensors, written = load_tensors(path)
    step = written.pop("step")
    if written != about:
        raise OutputError(f"{path} belongs to a training with other settings or images; delete it")
    return Checkpoint(step, tensors)


def load_surrogate(
    runtime: Runtime, collection: Collection, config: ProtectConfig, path: Path, named: Path
) -> nn.Module:
    """The surrogate in `path`, which the caller knows as `named`. Raises `SettingError` if it is for other images."""
    weights, about = load_tensors(path)
    expected = about_surrogate(config, collection)
    for name in ("network", "classes", "seen"):
        if about.get(name) != expected[name]:
            raise SettingError(
                f"{named} was trained for {name} {in_short(about.get(name))}, here it is {in_short(expected[name])}"
            )
    model = new_surrogate(config, len(collection.classes), collection.size, runtime)
    model.load_state_dict(weights)
    return model


def about_surrogate(config: ProtectConfig, collection: Collection) -> dict[str, Any]:
    """The description in a file of weights, as JSON values."""
    seen = list(make_view(config, collection.size)[1])
    return {
        "network": config.network, "classes": list(collection.classes), "seen": seen,
        "settings": to_json(config),
    }  # fmt: skip
