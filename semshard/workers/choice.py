"""The pool that options ask for: one function for every command that has work for several processes or machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..cores import allowed
from ..errors import SettingError
from .here import Here
from .local import LocalPool
from .options import WorkerOptions
from .protocol import Pool

ROOM = 1 << 28  # bytes for the orders of several runs, in the object store of a cluster that is started for them


def pool_for(options: WorkerOptions, workers: int, held: Sequence[int] = (), **cluster: Any) -> Pool:
    """So many workers, at most: actors of a Ray cluster where the options say so, else processes of this machine that
    share its cores, with the files `held`; 0 for this process alone.

    `cluster` are the fields of `RayPool` that say how actors work. Raises `SettingError` where Ray is not installed.
    """
    if options.engine == "ray":
        return _ray().RayPool(options, workers, **cluster)  # type: ignore[no-any-return]
    return LocalPool(workers, allowed(), held) if workers else Here()


@contextmanager
def one_cluster(options: WorkerOptions) -> Iterator[None]:
    """While the block lasts, all runs with these options are on one Ray cluster, which is started or connected to once.
    Without Ray it does nothing.
    """
    options.check()
    if options.engine != "ray":
        yield
        return
    with _ray().connected(options, ROOM):
        yield


def check_reachable(options: WorkerOptions) -> None:
    """Raise `SettingError` where the options ask for Ray and it is not installed, or nothing listens at the address of
    its cluster: said before the hours that a surrogate may take.
    """
    if options.engine == "ray":
        _ray().check_reachable(options)


def _ray() -> Any:
    try:
        from . import ray_pool
    except ImportError as error:
        raise SettingError(f"engine ray needs the library ray ({error}): pip install 'semshard[ray]'") from None
    return ray_pool


@dataclass(frozen=True)
class SameFolder:
    """Relative paths mean to an actor what they mean to the driver, where its machine has the same current folder."""

    path: str

    @classmethod
    def here(cls) -> SameFolder:
        """The current folder of this process."""
        return cls(os.getcwd())

    def enter(self) -> None:
        """Make it the current folder; where it does not exist, relative paths will not be found."""
        with suppress(OSError):
            os.chdir(self.path)
