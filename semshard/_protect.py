"""The story of protect: source → surrogate → craft → quantise → encode → shard → manifest."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ._begin import Clock, Job, begin, check_method, refuse_nesting, rejects_of
from ._train import (
    Request,
    check_settings,
    check_surrogate,
    labels_of,
    limit_rejects,
    load_surrogate,
    tensors,
    train_to,
)
from ._version import __version__
from .config import ProtectConfig
from .engine import Runtime, deterministic, make_runtime, permutation
from .engine.weights import load_tensors, save_tensors
from .metadata import Metadata
from .noise import add
from .noise.methods import HELD_OUT, HeldOut, Noise, make_noise
from .progress import Event, Progress, remarks, silent
from .shards import (
    Encoded,
    Extra,
    Fields,
    Ledger,
    LedgerRow,
    ShardWriter,
    done_stats,
    encode,
    ledger_path,
    mark_done,
    read_manifest,
    write_manifest,
)
from .sources import Collection, SourceOptions, open_source
from .threads import ahead, behind, ordered_map

Pixels = NDArray[np.uint8]
PNG = Fields()
PIECE_PIXELS = 1 << 15  # that a thread encodes at a time
PIECE_BYTES = 1 << 29  # of photographs, clean and protected, that wait for a thread or are being encoded
PIECES = 16  # a thread: work for as long as a finished shard takes to reach the disk


@dataclass(frozen=True)
class ProtectResult:
    """What a protect run left behind."""

    samples: int
    shards: int
    rejected: int
    bytes: int  # of all tars
    linf_max: int  # grey levels
    psnr_mean: float  # dB
    duplicates: int  # usable inputs that have the pixels of an earlier one
    seconds: dict[str, float]  # by phase, of this call
    out: str
    ledger: str
    fingerprint: str
    made: int  # shards written by this call; 0 where all were there already


def protect(
    source: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    surrogate: str | Path | None = None,
    overwrite: bool = False,
    max_rejects: float = 0.01,
    device: str = "auto",
    checkpoint_seconds: float = 20,
    options: SourceOptions | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> ProtectResult:
    """Write protected WebDataset shards of the images at `source` into the folder `out`, its ledger beside it.

    `settings` are fields of `ProtectConfig`; radii may be written "8/255"; `options` tell more of the source. A run
    that was interrupted goes on from where it stopped and ends in the same bytes; a finished one is left alone.

    Raises `SourceError`, `SettingError`, `OutputError` (made with other settings, and no `overwrite`),
    `TooManyRejects` (more than the share `max_rejects` of the inputs; the ledger says which).
    """
    clock = Clock()
    request = Request(preset, surrogate, overwrite, max_rejects, settings, options or SourceOptions(), progress)
    out = Path(out)
    opened = open_source(source, request.options)
    refuse_nesting(opened, out)
    runtime = make_runtime(device, str(settings.get("precision", "auto")), remarks(progress))
    check_settings(request, runtime)
    check_surrogate(request, opened)
    ledger = Ledger(ledger_path(out))
    with ledger.held():
        job = begin(opened, out, ledger, runtime, request, clock)
        plan = job.shards()
        missing = [shard for shard in range(len(plan)) if not done_stats(out, shard)]
        if missing:
            with clock("surrogate"):
                noise = _noise(job, surrogate, checkpoint_seconds, progress)
            with clock("craft"), deterministic():
                make_shards(job, functools.partial(craft_batch, noise), plan, missing, max_rejects, progress)
        with clock("finish"):
            return _finish(job, len(plan), len(missing), clock)


def _noise(job: Job, given: str | Path | None, checkpoint_seconds: float, progress: Progress) -> Noise:
    """The noise of the job's method, its surrogate trained."""
    model = _surrogate(job, given, checkpoint_seconds, progress) if job.config.has_surrogate else None
    return noise_of(job.runtime, job.collection, job.config, model)


def noise_of(runtime: Runtime, collection: Collection, config: ProtectConfig, model: nn.Module | None) -> Noise:
    """The noise of a method for the images of a collection. Raises `SettingError` where they do not suit it."""
    check_method(runtime, collection, config)
    others = held_out(collection, config)
    return make_noise(runtime, config, len(collection.classes), collection.size, model=model, held_out=others)


def held_out(collection: Collection, config: ProtectConfig) -> HeldOut:
    """Images outside a block, uint8 (V, 3, H, W), and their labels: the first of a seeded order, read once."""

    @functools.cache
    def first() -> tuple[Tensor, Tensor, NDArray[np.int64]]:
        order = collection.usable[permutation(len(collection.usable), config.seed, "held out").numpy()]
        return tensors(collection, order[: HELD_OUT + config.craft_batch])[:3]

    def outside(numbers: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        images, labels, known = first()
        chosen = torch.from_numpy(np.flatnonzero(~np.isin(known, numbers))[:HELD_OUT])
        return images[chosen], labels[chosen]

    return outside


def _surrogate(job: Job, given: str | Path | None, checkpoint_seconds: float, progress: Progress) -> nn.Module:
    path = job.ledger.surrogate
    if given and not path.exists():
        tensors, about = load_tensors(Path(given))
        save_tensors(path, tensors, about)
    if path.exists():
        return load_surrogate(job.runtime, job.collection, job.config, path, Path(given) if given else path)
    return train_to(job.runtime, job.collection, job.config, path, job.ledger.checkpoint, checkpoint_seconds, progress)


# --- crafting -----------------------------------------------------------------------------------------------------
# A thread reads ahead, the device crafts here, and behind it threads encode and write, in the order of the plan.


BATCH_PIXELS = 1 << 25  # of photographs that are crafted together


@dataclass(frozen=True)
class Batch:
    """Inputs that are crafted together, pixels uint8 (H, W, 3) RGB; and why other inputs are missing.

    Where all images have one size they lie in one array (N, H, W, 3), otherwise in a list.
    """

    shard: int
    at: int  # place of the first in the shard
    images: Pixels | list[Pixels]
    labels: Tensor  # int64 (N,)
    inputs: list[tuple[int, int, int]]  # of each image: its place in the shard, its number, its label
    rejects: dict[int, str]
    extras: list[Extra] | None = None
    protected: Pixels | list[Pixels] | None = None


def make_shards(
    job: Job,
    craft: Callable[[Batch], Batch],
    plan: list[NDArray[np.int64]],
    missing: list[int],
    max_rejects: float,
    progress: Progress,
) -> None:
    """Write the `missing` shards of a plan; `craft` puts the protected images into a batch."""
    total = sum(len(plan[shard]) for shard in missing)
    made = (done_stats(job.out, shard) for shard in sorted(set(range(len(plan))) - set(missing)))
    done, rejected = 0, len(job.collection.rejects) + sum(stats.rejected for stats in made if stats)
    limit_rejects(rejected, len(job.collection.source), max_rejects, f"; see {job.ledger.path}")
    progress(Event("craft", done, total, "images"))
    with behind(functools.partial(_write_shards, job)) as write:
        for batch in ahead(_load(job.collection, job.config, plan, missing)):
            write(craft(batch))
            done, rejected = done + len(batch.inputs) + len(batch.rejects), rejected + len(batch.rejects)
            limit_rejects(rejected, len(job.collection.source), max_rejects, "")
            progress(Event("craft", done, total, "images"))


def _load(
    collection: Collection, config: ProtectConfig, plan: list[NDArray[np.int64]], shards: list[int]
) -> Iterator[Batch]:
    for shard in shards:
        at = 0
        for numbers in batches(collection, config, plan[shard]):
            yield load_batch(collection, numbers, shard, at)
            at += len(numbers)
        if not len(plan[shard]):
            yield load_batch(collection, plan[shard], shard, 0)  # a tar without a usable sample is an empty one


def batches(collection: Collection, config: ProtectConfig, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The inputs of a shard cut into batches: by count, and of photographs by their pixels, too."""
    pixels = collection.sizes[numbers].astype(np.int64).prod(1)
    first, total = 0, 0
    for place, of_it in enumerate(pixels.tolist()):
        if place > first and (place - first == config.craft_batch or total + of_it > BATCH_PIXELS):
            yield numbers[first:place]
            first, total = place, 0
        total += of_it
    if first < len(numbers):
        yield numbers[first:]


def load_batch(collection: Collection, numbers: NDArray[np.int64], shard: int, at: int) -> Batch:
    """The inputs `numbers`, which stand at place `at` of a shard."""
    metadata, carried = dict[int, Metadata](), dict[int, dict[str, bytes]]()

    def one(number: int) -> Pixels:
        if collection.source.fields:
            carried[number] = collection.source.carried(number)
        if collection.decoding.keep_metadata == "none":
            return collection.pixels(number)
        picture = collection.decoded(number)
        metadata[number] = picture.metadata
        return picture.pixels

    pixels, kept, rejects = collection.several_of(numbers, one)
    places = [place for place, number in enumerate(numbers.tolist(), at) if number not in rejects]
    labels = labels_of(collection, kept)
    inputs = list(zip(places, kept.tolist(), labels.tolist(), strict=True))
    extras = None
    if metadata or carried:
        extras = [Extra(metadata.get(number, Metadata()), carried.get(number, {})) for number in kept.tolist()]
    images = np.stack(pixels) if collection.size and pixels else pixels
    return Batch(shard, at, images, labels, inputs, rejects, extras)


def craft_batch(noise: Noise, batch: Batch) -> Batch:
    """The batch with its protected images."""
    if not len(batch.images):
        return replace(batch, protected=batch.images)
    if isinstance(batch.images, list):
        return replace(batch, protected=noise.photos(batch.images, batch.labels, batch.shard, batch.at))
    numbers = np.array([number for _, number, _ in batch.inputs], np.int64)
    planes = torch.from_numpy(np.ascontiguousarray(batch.images.transpose(0, 3, 1, 2)))
    delta = noise(planes, batch.labels, numbers, batch.shard, batch.at)
    return replace(batch, protected=np.ascontiguousarray(add(planes, delta).numpy().transpose(0, 2, 3, 1)))


@dataclass(frozen=True)
class Piece:
    """Samples of a batch that one thread encodes, and the numbers of their inputs."""

    shard: int
    samples: list[Encoded]
    numbers: tuple[int, ...]
    rejects: dict[int, str]


def encode_pieces(
    batches: Iterator[Batch], classes: tuple[str, ...], fields: Fields = PNG, quality: int = 95
) -> Iterator[Piece]:
    """The batches as encoded samples, in order, by a few threads."""
    recipe = classes, fields, quality
    return ordered_map(lambda piece: piece[1](), _pieces(batches, recipe), PIECES, lambda piece: piece[0], PIECE_BYTES)


Recipe = tuple[tuple[str, ...], Fields, int]


def _pieces(batches: Iterator[Batch], recipe: Recipe) -> Iterator[tuple[int, Callable[[], Piece]]]:
    """What is to be encoded, and the bytes of photographs that it holds on to."""
    for batch in batches:
        if batch.rejects or not len(batch.images):
            yield 0, functools.partial(Piece, batch.shard, [], (), batch.rejects)
        whole = not isinstance(batch.images, list)
        each = max(1, PIECE_PIXELS // (batch.images[0].size // 3)) if whole and len(batch.images) else 1
        for first in range(0, len(batch.images), each):
            held = 0 if whole else 2 * batch.images[first].nbytes
            which = range(first, min(first + each, len(batch.images)))
            yield held, functools.partial(_encode_piece, batch, which, recipe)


def _encode_piece(batch: Batch, which: range, recipe: Recipe) -> Piece:
    assert batch.protected is not None
    here = slice(which.start, which.stop)
    places, numbers, labels = zip(*batch.inputs[here], strict=True)
    clean, protected = (
        images[which.start][None] if isinstance(images, list) else images[here]
        for images in (batch.images, batch.protected)
    )
    classes, fields, quality = recipe
    extras = batch.extras[here] if batch.extras else None
    samples = encode(batch.shard, places, clean, protected, labels, classes, fields, quality, extras)
    return Piece(batch.shard, samples, numbers, {})


def _write_shards(job: Job, batches: Iterator[Batch]) -> None:
    pieces_of_all = encode_pieces(batches, job.classes, job.fields, job.config.quality)
    for shard, pieces in itertools.groupby(pieces_of_all, lambda piece: piece.shard):
        rows: list[LedgerRow] = []
        with ShardWriter(job.out, shard) as writer:
            for piece in pieces:
                writer.add(piece.samples)
                for number, sample in zip(piece.numbers, piece.samples, strict=True):
                    rows.append(_row(job.collection, number, key=sample.key))
                rows += [_row(job.collection, number, reason=reason) for number, reason in piece.rejects.items()]
                writer.rejected += len(piece.rejects)
        job.ledger.write_shard(shard, rows)
        mark_done(job.out, writer.stats)


def _row(collection: Collection, number: int, key: str | None = None, reason: str | None = None) -> LedgerRow:
    return LedgerRow(number, collection.source.entry(number).name, collection.digest(number), key, reason)


# --- the end ------------------------------------------------------------------------------------------------------


def _finish(job: Job, shards: int, made: int, clock: Clock) -> ProtectResult:
    """Write the rejects and the manifest, once every shard is done."""
    stats = [found for shard in range(shards) if (found := done_stats(job.out, shard))]
    rejected = len(job.collection.rejects) + sum(shard.rejected for shard in stats)
    if made or not (job.out / "manifest.json").exists():
        late = (row for shard in range(shards) for row in job.ledger.shard(shard) if row.reason)
        job.ledger.write_rejects(itertools.chain(rejects_of(job.collection), late))
        size, duplicates = job.collection.size, job.collection.duplicates
        write_manifest(job.out, job.config, job.classes, size, job.fields, stats, rejected, duplicates, __version__)
    manifest = read_manifest(job.out)
    return ProtectResult(
        samples=manifest["counts"]["samples"],
        shards=shards,
        rejected=rejected,
        bytes=sum(shard.bytes for shard in stats),
        linf_max=manifest["noise"]["linf_max"],
        psnr_mean=manifest["noise"]["psnr_mean"],
        duplicates=manifest["counts"]["duplicates"],
        seconds=clock.seconds,
        out=str(job.out),
        ledger=str(job.ledger.path),
        fingerprint=job.fingerprint,
        made=made,
    )
