"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.settings import Setting

# Titles of panels of --help. Other panels are named for the group of the settings in them.
COMPUTING = "Computing"
IN_PIECES = "Running in pieces"
SOURCE = "Source"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Preset = Annotated[
    str,
    typer.Option(
        help="Where settings that are not given come from: paper, medium, quick, or auto: paper on a GPU, else quick."
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1 …", rich_help_panel=COMPUTING)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=COMPUTING)]
ConfigFile = Annotated[
    Optional[Path],
    typer.Option(metavar="FILE", help="Take settings from a TOML file; options on the command line come first."),
]
Clean = Annotated[
    Optional[str],
    typer.Option(
        metavar="SOURCE", help="The clean originals, if the ledger is missing or they are no longer where it says."
    ),
]
ShardsFolder = Annotated[Path, typer.Argument(metavar="SHARDS", help="A folder that protect wrote.")]
ShardsPlace = Annotated[
    str, typer.Argument(metavar="SHARDS", help="What protect wrote: a folder, or a copy at s3://…, gs://… or az://….")
]
LedgerPlace = Annotated[
    Optional[str],
    typer.Option(
        metavar="LEDGER",
        help="The private ledger, a folder or s3://…, where it is not beside the shards. Without it, shards on an "
        "object store are compared with no originals.",
        rich_help_panel="Data",
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="A folder whose subfolders are classes, or another kind: `semshard sources` lists them."
    ),
]
Title = Annotated[
    Optional[str],
    typer.Option(metavar="TEXT", help="Title of the collection, for its data card.", rich_help_panel="Output"),
]
Licence = Annotated[
    Optional[str],
    typer.Option(
        metavar="SPDX-ID",
        help="Licence of the collection, for its data card, like CC-BY-4.0; or the address of the terms.",
        rich_help_panel="Output",
    ),
]
PassphraseFile = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE",
        help="The passphrase of the private key is the first line of this file. Without it: the environment variable "
        "SEMSHARD_PASSPHRASE, or a prompt.",
        rich_help_panel="Output",
    ),
]
MaxRejects = Annotated[
    str,
    typer.Option(
        metavar="SHARE", help="Stop when more than this share of the inputs is unusable.", rich_help_panel=SOURCE
    ),
]
CheckpointSeconds = Annotated[
    float, typer.Option(help="Seconds between checkpoints of the surrogate's training.", rich_help_panel="Surrogate")
]

# The fields of `SourceOptions`.
SOURCE_OPTIONS: dict[str, Any] = {
    "labels": Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE",
            help="Classes of a folder's files: a CSV, TSV, JSON Lines or Parquet table. Or auto (experimental): "
            "group images without labels by their looks, and protect against these groups.",
        ),
    ],
    "path_column": Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Column of --labels with the path of a file [path].", rich_help_panel=SOURCE),
    ],
    "label_column": Annotated[
        Optional[str],
        typer.Option(metavar="NAME", help="Column of --labels with its class [label].", rich_help_panel=SOURCE),
    ],
    "margin": Annotated[
        Optional[str],
        typer.Option(
            metavar="SHARE",
            help="Added around the boxes of facescrub:, as a share of their size, like 10%.",
            rich_help_panel=SOURCE,
        ),
    ],
}

_SHOWN = ("pictures", "output", "data")  # groups whose defaults no preset, method or set of attackers changes
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}


def _completed(one: Setting) -> Callable[[str], list[str]]:
    """What the shell offers for a setting: its choices, of a list the next one."""

    def offered(incomplete: str) -> list[str]:
        *given, last = incomplete.split(",") if one.several else [incomplete]
        return [",".join((*given, choice)) for choice in one.choices if choice.startswith(last)]

    return offered


def _default(one: Setting) -> str:
    """A sentence on what holds if the option is not given, where that is the same in all presets."""
    given = one.default if isinstance(one.default, tuple) else (one.default,)
    shown = one.group in _SHOWN and one.kind != "bool" and all(isinstance(each, str | int | float) for each in given)
    return f" Default: {','.join(map(str, given))}." if shown else ""


def option_of(one: Setting) -> Any:
    """A setting as an option: its type, its help with the choices, and its panel."""
    kind: Any = list[str] if one.several else str if one.radius else _TYPES[one.kind]
    choices = f" One of: {', '.join(one.choices)}." if one.choices else ""
    metavar = ("RADIUS" if one.radius else "V" if one.several else "") + (",…" if one.several else "")
    panel = None if one.common else one.group.capitalize()
    return Annotated[
        Optional[kind],
        typer.Option(
            help=one.help + choices + _default(one),
            metavar=metavar or None,
            rich_help_panel=panel,
            autocompletion=_completed(one),
        ),
    ]
