"""Which of several processes this one is, as torchrun says it in environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_DEFAULTS = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that were started together."""

    rank: int = 0  # of all processes; the first one writes files and progress
    size: int = 1  # of them, on all machines
    local_rank: int = 0  # of those on this machine
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def launch() -> Launch:
    """That of this process; a process alone where torchrun did not start it, or started no other."""
    if any(name not in os.environ for name in _NEEDED):
        return Launch()
    found = Launch(*(int(os.environ.get(name, default)) for name, default in _DEFAULTS.items()))
    return found if found.size > 1 else Launch()
