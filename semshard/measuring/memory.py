"""Peak memory of this program on the device that it computes on."""

from __future__ import annotations

import torch

from ..memory import peak_memory


def peak(device: torch.device) -> int:
    """Bytes: allocated on a GPU, resident on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()
