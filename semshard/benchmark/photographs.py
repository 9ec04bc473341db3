"""Crafting noise for photographs of several sizes: their rate, the share of the network's passes, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor

from ..engine import FoldedNetwork, Runtime, deterministic
from ..errors import RunError
from ..measuring.memory import peak
from ..measuring.timing import medians
from ..noise import new_surrogate
from ..noise.photos import Photo, PhotoNoise
from ..settings import ProtectConfig, from_json, to_json
from .data_path import pictures

CLASSES = 10
SHAPES = {(224, 224): 16, (375, 500): 8, (3000, 4000): 1}  # height, width, and how many photographs are crafted


@dataclass(frozen=True)
class PhotographTime:
    """What photographs of one size take."""

    height: int
    width: int
    per_second: float  # photographs
    passes: float  # the share of the time that the network's passes take
    peak_memory: int  # bytes: of the process on a CPU, allocated on a GPU


def photograph_times(runtime: Runtime, config: ProtectConfig, repeats: int) -> Iterator[PhotographTime]:
    """Measure crafting with the settings of a preset for photographs, each size in a process of its own."""
    for (height, width), count in SHAPES.items():
        work = {
            "settings": to_json(config), "height": height, "width": width, "count": count, "repeats": repeats,
            "device": str(runtime.device), "precision": runtime.precision,
        }  # fmt: skip
        program = "from semshard.benchmark.photographs import report; report()"
        done = subprocess.run([sys.executable, "-c", program], input=json.dumps(work), capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or "killed").splitlines()[-1]
            raise RunError(f"measuring photographs of {width} × {height} failed: {last}")
        yield PhotographTime(**json.loads(done.stdout))


def report() -> None:
    """The work on standard input, measured; figures as JSON on standard output."""
    work = json.loads(sys.stdin.read())
    runtime = Runtime(torch.device(work["device"]), work["precision"])
    config = from_json(ProtectConfig, work["settings"])
    found = _measured(runtime, config, work["height"], work["width"], work["count"], work["repeats"])
    sys.stdout.write(json.dumps(asdict(found)))


def _measured(
    runtime: Runtime, config: ProtectConfig, height: int, width: int, count: int, repeats: int
) -> PhotographTime:
    """Crafting, and in turn the same passes alone: on images of the same number, shape and grouping."""
    network = runtime.folded(new_surrogate(config, CLASSES, None, runtime))
    recorder = _Recorder(network)
    noise = PhotoNoise(runtime, network, config.final())
    photos, labels = _photographs(height, width, count), torch.arange(count) % CLASSES
    with deterministic():
        replace(noise, network=cast(FoldedNetwork, recorder))(photos, labels, "bench")
        actions = {"whole": lambda: noise(photos, labels, "bench"), "passes": recorder.again}
        times = medians(actions, repeats, runtime.device)
    return PhotographTime(height, width, count / times["whole"], times["passes"] / times["whole"], peak(runtime.device))


class _Recorder:
    """A network that remembers the shapes of the batches whose gradients were taken."""

    def __init__(self, network: FoldedNetwork) -> None:
        self._network, self._seen = network, list[tuple[torch.Size, Tensor, bool]]()

    def gradient(self, images: Tensor, labels: Tensor, centred: bool = False) -> Tensor:
        self._seen.append((images.shape, labels, centred))
        self._like = images
        return self._network.gradient(images, labels, centred)

    def graphs(
        self,
        name: Hashable,
        function: Callable[..., Tensor],
        *inputs: Tensor | None,
        generator: torch.Generator | None = None,
        unchanged: Sequence[Tensor] = (),
    ) -> Tensor:
        """As `Graphs`, without a graph: a capture would call the function several times."""
        return function(*inputs) if generator is None else function(*inputs, generator=generator)

    def again(self) -> None:
        """All of those gradients once more, at other images."""
        for shape, labels, centred in self._seen:
            images = self._like if self._like.shape == shape else self._like.new_zeros(shape)
            self._network.gradient(images, labels, centred)


def _photographs(height: int, width: int, count: int) -> list[Photo]:
    """Smooth pictures; large ones are enlarged from 1,024 pixels."""
    side = min(max(height, width), 1024) // 4 * 4
    return [np.asarray(cv2.resize(of, (width, height)), np.uint8) for of in pictures(count, side)]
