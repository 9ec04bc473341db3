"""What a library that a run uses may not change in the user's program: its standard output, and SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Quiet:
    """A stream without what threads of some names print there."""

    def __init__(self, stream: Any, threads: str) -> None:
        self._stream, self._threads = stream, threads

    def write(self, text: str) -> int:
        is_refused = threading.current_thread().name.startswith(self._threads)
        return len(text) if is_refused else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def quiet_output(threads: str) -> Iterator[None]:
    """Within it nothing comes to standard output from threads whose names begin like this: programs read it."""
    before, quiet = sys.stdout, _Quiet(sys.stdout, threads)
    sys.stdout = quiet
    try:
        yield
    finally:
        if sys.stdout is quiet:
            sys.stdout = before


@contextmanager
def sigterm_as_it_was() -> Iterator[None]:
    """Within it a library may take SIGTERM for itself; after it the program has it again."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
