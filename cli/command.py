"""What makes a function a command: options from the declarations of settings, errors in one line, exit codes."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from semshard.atomic import AFTERWARDS, NO_SPACE
from semshard.errors import SemshardError, SettingError, TimeIsUp
from semshard.launch import launch
from semshard.settings import declared, names_where
from semshard.storage import local_path

from .exits import INTERRUPTED, TERMINATED, Terminated
from .options import SOURCE_OPTIONS, ConfigFile, Debug, option_of
from .values import read_toml, share

Command = Callable[..., None]


def errors_in_one_line(command: Command) -> Command:
    """Errors of ours become one line on standard error and an exit code; --debug shows where they come from."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool = False, **kwargs: Any) -> None:
        try:
            _refuse_remote_paths(kwargs)
            command(*args, **kwargs)
        except (SemshardError, OSError) as error:
            if debug:
                raise
            _print_error(message_of(error) if isinstance(error, TimeIsUp) else f"error: {message_of(error)}")
            raise typer.Exit(exit_code_of(error)) from None
        except KeyboardInterrupt as error:
            _print_error(message_of(error))
            raise typer.Exit(exit_code_of(error)) from None

    return with_options(run, command, {"debug": (Debug, False)})


def _refuse_remote_paths(arguments: dict[str, Any]) -> None:
    """Raise `OutputError` for a URL where a path is asked for; as a path it would become a folder named "s3:"."""
    for name, value in arguments.items():
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path):
                local_path(path, name.upper() if name == "shards" else f"--{name.replace('_', '-')}")


def settings_of(config: type[Any], run: str = "") -> Callable[[Command], Command]:
    """Give a command an option for every setting of `config`, but those that are not for this kind of `run`, and
    --config FILE; it receives them as `settings`.
    """

    def decorate(command: Command) -> Command:
        parameters = inspect.signature(command).parameters
        hidden = {"preset", *parameters, *names_where(config, not_for=run)}
        options = {name: (option_of(one), None) for name, one in declared(config).items() if name not in hidden}
        known = ["preset", *options] if "preset" in parameters else [*options]

        @functools.wraps(command)
        def parse_settings(*args: Any, config: Path | None = None, **kwargs: Any) -> None:
            settings = _settings_in(config, known, command) if config else {}
            settings |= {n: v for n in options if (v := kwargs.pop(n)) is not None and v != []}
            if kwargs.get("preset") == "auto" and "preset" in settings:
                kwargs["preset"] = settings["preset"]
            settings.pop("preset", None)
            command(*args, settings=settings, **kwargs)

        return with_options(parse_settings, command, {**options, "config": (ConfigFile, None)}, "settings")

    return decorate


def _settings_in(file: Path, known: list[str], command: Command) -> dict[str, Any]:
    """The settings in a TOML file. Raises `SettingError` for a name that is not among the `known` ones."""
    settings = read_toml(file)
    for name in settings:
        if name not in known:
            which = f"these are: {', '.join(known)}; other options go on the command line"
            raise SettingError(f"{name!r} in {file} is not a valid setting of {command.__name__}; {which}")
    return settings


def source_options(command: Command) -> Command:
    """Give a command the options that say more of its source; it receives them as `options`."""

    @functools.wraps(command)
    def parse_options(*args: Any, **kwargs: Any) -> None:
        from semshard import SourceOptions

        given: dict[str, Any] = {n: value for n in SOURCE_OPTIONS if (value := kwargs.pop(n)) is not None}
        if "margin" in given:
            given["margin"] = share(given["margin"])
        command(*args, options=SourceOptions(**given), **kwargs)

    return with_options(parse_options, command, {n: (option, None) for n, option in SOURCE_OPTIONS.items()}, "options")


def with_options(run: Command, command: Command, options: dict[str, tuple[Any, Any]], place: str = "") -> Command:
    """`run` with the signature of `command`, and in it `options` (name → annotation, default) in place of the parameter
    `place`, or at the end.
    """
    new = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters += new if parameter.name == place else [parameter]
    if not place:
        parameters += new
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def exit_code_of(error: BaseException) -> int:
    """The exit code of a command that this error ends."""
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    return error.exit_code if isinstance(error, SemshardError) else 1


def message_of(error: BaseException) -> str:
    """The error in words, in one line."""
    if isinstance(error, KeyboardInterrupt):
        how = "ended by SIGTERM" if isinstance(error, Terminated) else "interrupted"
        return f"{how}; run the same command again to continue"
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}{f'; {AFTERWARDS}' * (error.errno in NO_SPACE)}"
    return str(error) if isinstance(error, SemshardError) else f"{type(error).__name__}: {error}"


def _print_error(message: str) -> None:
    here = launch()
    print(f"semshard{f' (rank {here.rank})' if here.size > 1 else ''}: {message}", file=sys.stderr)
