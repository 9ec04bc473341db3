"""What all commands share: options made from a config's fields, errors in one line, exit codes."""

from __future__ import annotations

import functools
import inspect
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard.errors import SemshardError, SettingError, TimeIsUp

Command = Callable[..., None]
_HIDDEN = {"preset"}  # of the config's fields: an option of its own
_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else there.")]
Preset = Annotated[
    str, typer.Option(help="Where unset settings come from: paper, quick, or auto: paper on a GPU, quick on a CPU.")
]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1 …")]
Clean = Annotated[
    Optional[str],
    typer.Option(help="The clean originals, where the ledger is missing or names a place they have left."),
]
ShardsFolder = Annotated[Path, typer.Argument(metavar="SHARDS", help="A folder that protect wrote.")]


def errors_in_one_line(command: Command) -> Command:
    """Errors of ours become one line on standard error and an exit code; --debug shows where they come from."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except SemshardError as error:
            if debug:
                raise
            _say(str(error) if isinstance(error, TimeIsUp) else f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if debug:
                raise
            _say(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            _say("interrupted; run the same command again to go on")
            raise typer.Exit(130) from None

    debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
    return _with_options(run, command, {"debug": (debug, False)})


def settings_of(config: type[Any], without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Give a command an option for every setting of `config` but those `without`, and --config FILE; it receives them
    as `settings`.
    """

    def decorate(command: Command) -> Command:
        own = set(inspect.signature(command).parameters)
        options = {f.name: (_option(f), None) for f in fields(config) if f.name not in {*_HIDDEN, *own, *without}}

        @functools.wraps(command)
        def run(*args: Any, config: Path | None = None, **kwargs: Any) -> None:
            settings = _read_toml(config) if config else {}
            settings |= {n: v for n in options if (v := kwargs.pop(n)) is not None and v != []}
            if kwargs.get("preset") == "auto" and "preset" in settings:
                kwargs["preset"] = settings.pop("preset")
            settings.pop("preset", None)
            command(*args, settings=settings, **kwargs)

        file = Annotated[Optional[Path], typer.Option(help="Take settings from a TOML file; options go before it.")]
        return _with_options(run, command, {"config": (file, None), **options}, without="settings")

    return decorate


def source_options(command: Command) -> Command:
    """Give a command the options that say more of its source; it receives them as `options`."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        from semshard import SourceOptions

        given: dict[str, Any] = {name: value for name in _SOURCE if (value := kwargs.pop(name)) is not None}
        if "margin" in given:
            given["margin"] = share(given["margin"])
        command(*args, options=SourceOptions(**given), **kwargs)

    return _with_options(run, command, {name: (option, None) for name, option in _SOURCE.items()}, without="options")


_SOURCE: dict[str, Any] = {
    "labels": Annotated[
        Optional[str],
        typer.Option(
            help="The class of every file of a folder: a CSV, TSV, JSON Lines or Parquet table. Or auto "
            "(experimental): group images without labels by their looks, and protect against these groups.",
            metavar="FILE",
        ),
    ],
    "path_column": Annotated[Optional[str], typer.Option(help="Column of --labels with the path of a file [path].")],
    "label_column": Annotated[Optional[str], typer.Option(help="Column of --labels with its class [label].")],
    "margin": Annotated[
        Optional[str], typer.Option(help="Added around the boxes of facescrub:, as a share of their size, like 10%.")
    ],
}


def _option(f: Any) -> Any:
    several = str(f.type).startswith("tuple")
    kind: Any = list[str] if several else str if f.metadata["radius"] else _TYPES.get(str(f.type), float)
    choices = f" One of: {', '.join(f.metadata['choices'])}." if f.metadata["choices"] else ""
    metavar = "RADIUS" if f.metadata["radius"] else "V,…" if several else None
    help = f.metadata["help"] + choices
    return Annotated[Optional[kind], typer.Option(help=help, metavar=metavar, rich_help_panel="Settings")]


def _with_options(run: Command, command: Command, options: dict[str, tuple[Any, Any]], without: str = "") -> Command:
    """`run` with the signature of `command`, less `without`, plus `options`: name → (annotation, default)."""
    old = inspect.signature(command, eval_str=True).parameters.values()
    kept = [parameter for parameter in old if parameter.name != without]
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    run.__signature__ = inspect.Signature([*kept, *new])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*kept, *new]}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SettingError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is no TOML: {error}") from None
    return {name.replace("-", "_"): value for name, value in values.items()}


def share(text: str) -> float:
    """A share in [0, 1] from "1%", "35 %" or "0.35"."""
    number = text.strip()
    try:
        value = float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise SettingError(f"{text!r} is no share; write it like 1% or 0.01") from None
    if not 0 <= value <= 1:
        raise SettingError(f"{text!r} lies outside 0 to 1; write it like 1% or 0.01")
    return value


def pair(text: str) -> tuple[str, str]:
    """The name and the value in "NAME=VALUE"."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise SettingError(f"{text!r} is no NAME=VALUE")
    return name.strip().replace("-", "_"), value.strip()


def _say(message: str) -> None:
    print(f"semshard: {message}", file=sys.stderr)
