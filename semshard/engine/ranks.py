"""Several processes, each with a device of its own, that train one network together: the ranks of a torchrun.

What treats every image by itself (the noise step, the adversary of the model step) is shared out: each rank takes whole
parts of a batch, and all gather the results. What needs the whole batch (batch norm, SGD) every rank computes itself,
on the same numbers, so weights are never sent. The parts of a batch, and their random streams, do not depend on the
number of ranks.

Ranks meet at every step. One that has ended is noticed there by its closed connection, one that hangs by a timeout.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import RunError, SemshardError, SettingError
from ..launch import launch
from .captured import HOST, on_gpu
from .parts import parts

JOIN_SECONDS = 600.0  # that a rank waits until all have been started
STEP_SECONDS = 600.0  # that a rank waits for the others at a step: the first one may be writing a checkpoint
ALONE_SECONDS = 7 * 86_400.0  # that the others wait for what the first one does alone, such as a scan
WEIGHTS_EVERY = 100  # steps between two comparisons of the weights
GPU_PART = 16  # images of a part where several GPUs share a batch

T = TypeVar("T")
_joins = itertools.count()


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, and the place of this one among them; one process alone needs no others."""

    rank: int = 0
    size: int = 1
    steps: Any = None  # the process group for what happens at every step
    alone: Any = None  # the one for what the first rank does alone

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that reads and writes files, and reports."""
        return self.rank == 0

    def parts(self, count: int, device: torch.device) -> list[slice]:
        """A batch of `count` images in parts, of which each rank takes some."""
        if self.size > 1 and on_gpu(device):
            return [slice(at, min(at + GPU_PART, count)) for at in range(0, count, GPU_PART)]
        return parts(count, device)

    def check_parts(self, count: int, device: torch.device) -> None:
        """Raises `SettingError` where a batch of `count` images has fewer parts than there are ranks."""
        most = len(self.parts(count, device))
        if self.size > most:
            raise SettingError(
                f"a batch of {count} images is computed in {most} parts, so {self.size} processes cannot share it; "
                f"start {most} at most, or raise --batch"
            )

    def share(self, items: Sequence[T], rank: int | None = None) -> Sequence[T]:
        """Those of the items that a rank takes, by default this one: consecutive ones, as many as the others, or one
        more or fewer.
        """
        rank, count = self.rank if rank is None else rank, len(items)
        return items[rank * count // self.size : (rank + 1) * count // self.size]

    def gather(self, mine: Tensor, here: Sequence[slice]) -> Tensor:
        """The results of all ranks for the parts `here` of a batch, joined in order: `mine` (n, …) are those of this
        rank for its share. A rank without a share gives any results, to say what they look like.
        """
        if self.size == 1:
            return mine
        rows = [sum(part.stop - part.start for part in self.share(here, rank)) for rank in range(self.size)]
        most, own = max(rows), rows[self.rank]
        sent = mine.contiguous()
        if len(sent) != most:  # all send as many rows: what else is there is left out below
            sent = mine.new_zeros((most, *mine.shape[1:]))
            sent[:own] = mine[:own]
        received = self._of_all(sent)
        whole = torch.cat([theirs[:count] for theirs, count in zip(received, rows, strict=True)])
        last = torch.channels_last
        if mine.dim() == 4 and not mine.is_contiguous() and mine.is_contiguous(memory_format=last):
            return whole.contiguous(memory_format=last)
        return whole

    def meet(self, step: int, images: int) -> None:
        """Wait for all ranks at the beginning of a step on so many images. Raises `RunError` where one of them has
        ended, does not come in time, or has another number of images.
        """
        if self.size == 1:
            return
        counts = [each.tolist() for each in self._of_all(torch.tensor([step, images]))]
        for rank, count in enumerate(counts):
            if count != counts[0]:
                raise RunError(
                    f"rank {rank} is at step {count[0] + 1} with {count[1]} readable images, rank 0 at step "
                    f"{counts[0][0] + 1} with {counts[0][1]}: every rank must be able to read every image"
                )

    def compare_weights(self, done: int, model: nn.Module, always: bool = False) -> None:
        """Compare the weights of all ranks, after every so many steps. Raises `RunError` where they differ."""
        if self.size == 1 or not (always or done % WEIGHTS_EVERY == 0):
            return
        digests = [each.tolist() for each in self._of_all(_digest(model))]
        for rank, digest in enumerate(digests):
            if digest != digests[0]:
                raise RunError(
                    f"after step {done} rank {rank} has other weights than rank 0: their devices compute differently. "
                    "Delete the checkpoint, which may be wrong, and start all ranks on devices of one kind"
                )

    def same(self, facts: Mapping[str, Any]) -> None:
        """Raises `SettingError` where a rank has another of these facts, which have names in words."""
        if self.size == 1:
            return
        found: list[Mapping[str, Any]] = [{}] * self.size
        with self._in_words():
            dist.all_gather_object(found, dict(facts), group=self.alone)
        for rank, theirs in enumerate(found):
            for name, expected in found[0].items():
                if theirs[name] != expected:
                    raise SettingError(
                        f"rank {rank} has {name} {_short(theirs[name])}, rank 0 has {_short(expected)}; "
                        "start all with the same command, on machines of one kind"
                    )

    def from_first(self, function: Callable[[], T]) -> T:
        """What `function` returns in the first rank, which alone calls it. An error that it raises is raised by all."""
        if self.size == 1:
            return function()
        sent: list[Any] = [None, None]  # result, error
        if self.is_first:
            try:
                sent[0] = function()
            except Exception as failure:
                known = isinstance(failure, SemshardError | OSError)
                sent[1] = failure if known else RunError(f"rank 0 failed: {type(failure).__name__}: {failure}")
                self._broadcast(sent)
                raise
        self._broadcast(sent)
        result, error = sent
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _broadcast(self, sent: list[Any]) -> None:
        """Give the others what the first rank has in this list."""
        with self._in_words():
            dist.broadcast_object_list(sent, src=0, group=self.alone)

    def _of_all(self, mine: Tensor) -> list[Tensor]:
        """The tensors of each rank, of the same shape and type."""
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with self._in_words():
            dist.all_gather(found, mine, group=self.steps)
        return found

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Within it, what goes wrong between processes becomes a `RunError`."""
        try:
            yield
        except RuntimeError as error:
            raise RunError(
                f"rank {self.rank} of {self.size} stops: another rank has ended, or did not answer within "
                f"{STEP_SECONDS:.0f} seconds. Start the same command again: it continues from the checkpoint"
            ) from error


ALONE = Ranks()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, str]]:
    """The processes that torchrun has started, and the device of this one; this process alone, and `device`, where it
    has started no others. Every one of them has to enter it.

    Raises `SettingError` where a machine has fewer GPUs than processes, `RunError` where the others do not come.
    """
    here = launch()
    if here.size == 1:
        yield ALONE, device
        return
    if not dist.is_available():
        raise SettingError("this build of torch lacks torch.distributed: train in one process")
    gpu = device != HOST and torch.cuda.is_available()
    if gpu and device in ("auto", "cuda"):
        device = f"cuda:{here.local_rank}"
        if here.local_rank >= torch.cuda.device_count():
            raise SettingError(
                f"this machine has {torch.cuda.device_count()} GPUs for {here.local_size} processes; start one for each"
            )
        torch.cuda.set_device(here.local_rank)
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"  # by where a tensor is; NCCL was never run
    alone = Ranks(here.rank, here.size)
    with alone._in_words():
        store = _store(f"training {next(_joins)}")
        dist.init_process_group(
            backend, store=store, rank=here.rank, world_size=here.size, timeout=timedelta(seconds=STEP_SECONDS)
        )
    try:
        with alone._in_words():
            patient = dist.new_group(backend="gloo", timeout=timedelta(seconds=ALONE_SECONDS))
        yield Ranks(here.rank, here.size, dist.group.WORLD, patient), device
    finally:
        dist.destroy_process_group()


def _store(name: str) -> Any:
    """Where the processes find each other for a training; one server for all trainings of a process."""
    from torch.distributed.distributed_c10d import PrefixStore

    return PrefixStore(name, _server())


@functools.cache
def _server() -> Any:
    from torch.distributed.rendezvous import rendezvous  # a build without torch.distributed lacks it

    return next(rendezvous("env://", timeout=timedelta(seconds=JOIN_SECONDS)))[0]


def _digest(model: nn.Module) -> Tensor:
    """SHA-256 of the weights and buffers of a model: int64 (4,)."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.int64)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
