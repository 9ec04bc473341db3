"""Where the pieces of a run are worked on, and by how many workers. Nothing of it changes a result."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import SettingError

ENGINES = ("local", "ray")
_CLIENT = "ray://"


@dataclass(frozen=True)
class WorkerOptions:
    """Who does the work that can be shared out: processes of this machine, or actors on a Ray cluster.

    - engine: "local" or "ray"
    - workers: how many; None for as many as suit
    - ray_address: of a running cluster, "10.0.0.5:6379", or "auto" for the one that this machine belongs to; empty for
      that in the environment variable RAY_ADDRESS, and where there is none, one on this machine for this run
    - cpus_per_worker: CPUs that an actor reserves, and threads that it uses
    - gpus_per_worker: GPUs that an actor reserves; None for 1 where the run computes on a GPU, else 0
    - retries: how often a piece of work is tried again after its worker was lost
    - mixed_hardware: whether machines whose bytes differ may take part in making shards
    """

    engine: str = "local"
    workers: int | None = None
    ray_address: str = ""
    cpus_per_worker: int = 1
    gpus_per_worker: float | None = None
    retries: int = 3
    mixed_hardware: bool = False

    @property
    def address(self) -> str:
        """Of the cluster; "local" for one that is started for this run."""
        return self.ray_address or os.environ.get("RAY_ADDRESS", "") or "local"

    @property
    def together(self) -> bool:
        """Whether other processes than this one are asked for."""
        return self.engine != "local" or (self.workers or 1) > 1

    def check(self) -> None:
        """Raise `SettingError` where the options are impossible, or do not go together."""
        if self.engine not in ENGINES:
            raise SettingError(f"engine {self.engine!r} is not known; choose one of: {', '.join(ENGINES)}")
        if self.workers is not None and self.workers < 1:
            raise SettingError("workers is at least 1")
        if self.cpus_per_worker < 1 or (self.gpus_per_worker or 0) < 0 or self.retries < 0:
            raise SettingError("cpus-per-worker is at least 1, gpus-per-worker and retries at least 0")
        if self.engine == "local" and self != WorkerOptions(workers=self.workers):
            raise SettingError(
                "ray-address, cpus-per-worker, gpus-per-worker, retries and mixed-hardware are for --engine ray"
            )
        if self.engine == "ray" and self.address.startswith(_CLIENT):
            raise SettingError(
                f"{self.address}: a driver outside the cluster loses its run with its connection. Send the command to "
                "the cluster instead: ray job submit --address http://HEAD:8265 -- semshard protect …"
            )

    def gpus(self, on_gpu: bool) -> float:
        """The GPUs that an actor reserves for a run that computes `on_gpu` or not. Raises `SettingError` for none."""
        if on_gpu and self.gpus_per_worker == 0:
            raise SettingError("this run computes on a GPU, so that gpus-per-worker cannot be 0")
        return float(on_gpu) if self.gpus_per_worker is None else self.gpus_per_worker

    def refuse_mixed(self, what: str) -> None:
        """Raise `SettingError` where mixed hardware is allowed, which only shards know."""
        if self.mixed_hardware:
            raise SettingError(f"mixed-hardware is for making shards: {what} is of one kind of machine")
