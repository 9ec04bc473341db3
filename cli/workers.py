"""Options of who does the work: the same ones for every command that can share it out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, Optional

import typer

from .command import Command, with_options

WORKERS = "Workers"  # the title of their panel
FOR_SHARDS = ("mixed_hardware",)  # of the commands that make shards alone


def _option(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, rich_help_panel=WORKERS)


# The fields of `WorkerOptions`.
OPTIONS: dict[str, Any] = {
    "engine": Annotated[
        Optional[str],
        _option("NAME", "Who does the work: local, processes of this machine [default], or ray, actors on a cluster."),
    ],
    "workers": Annotated[
        Optional[int], _option("N", "How many processes or actors at the same time; without it as many as suit.")
    ],
    "ray_address": Annotated[
        Optional[str],
        _option(
            "HOST:PORT",
            "The cluster, or auto for the one that this machine is part of. Without it: RAY_ADDRESS, or a cluster on "
            "this machine for this run.",
        ),
    ],
    "cpus_per_worker": Annotated[Optional[int], _option("N", "CPUs that an actor reserves, and its threads [1].")],
    "gpus_per_worker": Annotated[
        Optional[float], _option("N", "GPUs that an actor reserves [1 where the run computes on a GPU].")
    ],
    "retries": Annotated[
        Optional[int], _option("N", "How often a piece of work whose actor was lost is tried again [3].")
    ],
    "mixed_hardware": Annotated[
        Optional[bool],
        typer.Option(
            "--mixed-hardware",
            help="Let nodes take part whose kind of device or version of torch differs: the manifest names all of "
            "them, and the same shard made by another of them may have other bytes.",
            rich_help_panel=WORKERS,
        ),
    ],
}


def worker_options(*without: str) -> Callable[[Command], Command]:
    """Give a command the options of who does the work, but those; it receives them as `workers`."""
    shown = {name: option for name, option in OPTIONS.items() if name not in without}

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def parse_options(*args: Any, **kwargs: Any) -> None:
            from semshard import WorkerOptions

            given = {name: value for name in shown if (value := kwargs.pop(name)) is not None}
            command(*args, workers=WorkerOptions(**given), **kwargs)

        return with_options(parse_options, command, {name: (option, None) for name, option in shown.items()}, "workers")

    return decorate
