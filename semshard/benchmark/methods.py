"""Each method's speed and memory: a training step of its surrogate, crafting, the peak, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engine import Runtime, deterministic
from ..errors import RunError
from ..measuring.memory import peak
from ..measuring.timing import medians
from ..noise import SurrogateTraining, initial_noise, new_surrogate
from ..noise.methods import HELD_OUT, make_noise
from ..noise.views import make_view
from ..settings import ProtectConfig, from_json, to_json

CLASSES = 10


@dataclass(frozen=True)
class MethodTime:
    """What a method takes. `whole` are the seconds that a surrogate and `images` crafted images come to."""

    name: str
    step: float | None  # seconds of a training step; None without a surrogate
    crafting: float  # images a second
    whole: float
    images: int
    peak_memory: int  # bytes: of the process on a CPU, allocated on a GPU


def method_time(
    runtime: Runtime, config: ProtectConfig, size: tuple[int, int], images: int, repeats: int
) -> MethodTime:
    """Measure `config.method` on random images of `size` (height, width), in a process of its own."""
    work = {
        "settings": to_json(config), "size": size, "device": str(runtime.device), "precision": runtime.precision,
        "repeats": repeats,
    }  # fmt: skip
    program = "from semshard.benchmark.methods import report; report()"
    done = subprocess.run([sys.executable, "-c", program], input=json.dumps(work), capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"measuring {config.method} failed: {(done.stderr.strip() or 'killed').splitlines()[-1]}")
    found = json.loads(done.stdout)
    training = (found["step"] or 0.0) * config.steps
    whole = training + images / found["crafting"]
    return MethodTime(config.method, found["step"], found["crafting"], whole, images, found["peak"])


def report() -> None:
    """The work on standard input, measured; figures as JSON on standard output."""
    work = json.loads(sys.stdin.read())
    runtime = Runtime(torch.device(work["device"]), work["precision"])
    config = from_json(ProtectConfig, work["settings"])
    figures = asdict(_measured(runtime, config, (work["size"][0], work["size"][1]), work["repeats"]))
    sys.stdout.write(json.dumps(figures))


@dataclass(frozen=True)
class _Figures:
    step: float | None
    crafting: float
    peak: int


def _measured(runtime: Runtime, config: ProtectConfig, size: tuple[int, int], repeats: int) -> _Figures:
    def pictures(count: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(count)
        drawn = torch.randint(0, 256, (count, 3, *size), generator=generator)
        return drawn.to(torch.uint8), torch.arange(count) % CLASSES

    actions: dict[str, Any] = {}
    model = new_surrogate(config, CLASSES, size, runtime) if config.has_surrogate else None
    if model is not None:
        kept = initial_noise(config, config.batch, size, runtime)
        training = SurrogateTraining.of(runtime, model, make_view(config, size)[0], config, kept)
        images, labels = (part.to(runtime.device) for part in pictures(config.batch))
        actions["step"] = lambda: training.step(0, images, labels)
    noise = make_noise(runtime, config, CLASSES, size, model=model, held_out=lambda numbers: pictures(HELD_OUT))
    block, names = pictures(config.craft_batch)
    actions["craft"] = lambda: noise(block, names, np.arange(len(names)), 0, 0)
    with deterministic():
        times = medians(actions, repeats, runtime.device)
    return _Figures(times.get("step"), len(names) / times["craft"], peak(runtime.device))
