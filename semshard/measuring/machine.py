"""The machine that something was measured on."""

from __future__ import annotations

import platform
import subprocess
from typing import Any

import torch

from .._version import __version__
from ..cores import allowed
from ..engine import choose_precision


def describe(device: torch.device) -> dict[str, Any]:
    """The machine, in words and versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        "threads": allowed(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **(_cuda() if device.type == "cuda" else {}),
        "semshard": __version__,
    }


KINDS = ("torch", "device", "precision")  # what `kind_of_machine` says


def kind_of_machine(device: torch.device) -> dict[str, str]:
    """What the last bits of a network's results depend on, besides the network."""
    machine = describe(device)
    return {"torch": machine["torch"], "device": machine["device"], "precision": choose_precision(device)[0]}


def _cpu() -> str:
    extensions = {
        "AVX-512 BF16": "_is_avx512_bf16_supported",
        "AMX": "_is_amx_tile_supported",
    }
    present = [name for name, probe in extensions.items() if getattr(torch.cpu, probe, lambda: False)()]
    return ", ".join([platform.machine(), *present])


def _cuda() -> dict[str, Any]:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        driver = "unknown"
    return {"driver": driver, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # type: ignore[no-untyped-call]
