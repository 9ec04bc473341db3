"""Peak memory of this program."""

from __future__ import annotations

import torch


def peak(device: torch.device) -> int:
    """Bytes: allocated on a GPU, resident on a CPU, of this program alone (getrusage inherits its starter's)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
