"""`--log-json FILE`: what a long command does, one JSON object per line, for programs that watch it.

    {"time": "2026-05-01T12:00:00.000Z", "event": "start", "command": "protect", "version": "0.1.0"}
    {"time": …, "event": "progress", "stage": "surrogate", "done": 40, "total": 900, "unit": "steps", "measures": {…}}
    {"time": …, "event": "remark", "stage": "scan", "message": …}
    {"time": …, "event": "result", "result": {…}}
    {"time": …, "event": "end", "exit_code": 0, "seconds": 63.2}

The last line always is an `end`, with `error` where there was one; a command without it was killed, or runs. Lines are
appended and flushed one by one. The file may hold private paths: it is for the owner.
"""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from semshard import Event
from semshard._version import __version__
from semshard.errors import OutputError
from semshard.launch import launch
from semshard.progress import Throttle

from .command import Command, exit_code_of, message_of, with_options
from .options import COMPUTING

EVERY = 1.0  # seconds between two lines about a stage, at least; its first and its last are always written

LogJson = Annotated[
    Optional[Path],
    typer.Option(
        metavar="FILE", help="Append progress, result or error to this file, one JSON object per line.",
        rich_help_panel=COMPUTING,
    ),
]  # fmt: skip
_open: list[EventLog] = []  # of the command that runs; of the outer one, where demo runs others


class EventLog:
    """A file of events. Raises `OutputError` where it cannot be opened; what goes wrong later is reported once, on
    standard error.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._stages = path, dict[str, Throttle]()
        self._silent = self._torn = False
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"--log-json {path} cannot be written: {error.strerror or error}") from None

    def progress(self, event: Event) -> None:
        """A remark, or where a stage is; rarely enough that the file stays small."""
        if event.message:
            self.write("remark", stage=event.phase, message=event.message)
        if not event.total:
            return
        due = self._stages.setdefault(event.phase, Throttle(EVERY))
        if due(always=event.done >= event.total):
            self.write(
                "progress", stage=event.phase, done=event.done, total=event.total, unit=event.unit,
                measures=dict(event.figures),
            )  # fmt: skip

    def write(self, event: str, **facts: Any) -> None:
        """Append one line."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = json.dumps(_plain({"time": time, "event": event, **facts}), ensure_ascii=False)
        line = ("\n" if self._torn else "") + text + "\n"
        data = line.encode("utf-8", "replace")
        try:
            self._torn = self._file.write(data) != len(data)
        except OSError as error:
            self._say(f"{error.strerror or error}; its events are missing there")

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            self._say(f"{error.strerror or error}")

    def _say(self, problem: str) -> None:
        if not self._silent:
            print(f"semshard: --log-json {self._path}: {problem}", file=sys.stderr)
        self._silent = True


def logged(command: Command) -> Command:
    """Give a command --log-json; events and the result are written there while it runs, and at its end an `end`."""

    @functools.wraps(command)
    def run(*args: Any, log_json: Path | None = None, **kwargs: Any) -> None:
        if log_json is None or not launch().is_first:
            command(*args, **kwargs)
            return
        log, start = EventLog(log_json), time.monotonic()
        log.write("start", command=command.__name__, version=__version__)
        _open.append(log)
        end: dict[str, Any] = {"exit_code": 0}
        try:
            command(*args, **kwargs)
        except typer.Exit as exit:
            end = {"exit_code": exit.exit_code}
            raise
        except BaseException as error:
            end = {"exit_code": exit_code_of(error), "error": message_of(error)}
            raise
        finally:
            _open.remove(log)
            log.write("end", **end, seconds=round(time.monotonic() - start, 3))
            log.close()

    return with_options(run, command, {"log_json": (LogJson, None)})


def record_event(event: Event) -> None:
    """Write an event of the library to the log of the command that runs, if it has one."""
    for log in _open[-1:]:
        log.progress(event)


def record_result(result: Callable[[], Any]) -> None:
    """Write the result, as JSON values, to the log of the command that runs, if it has one."""
    for log in _open[-1:]:
        log.write("result", result=result())


def _plain(value: Any) -> Any:
    """A value that JSON has: NaN and infinities as null, what it does not know as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):  # a number of numpy
        return _plain(value.item())
    return value if value is None or isinstance(value, str | int) else str(value)
