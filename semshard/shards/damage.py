"""Whatever damaged bytes make a library raise, as one error that names the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import RunError, SemshardError, ShardError

_LONGEST = 200  # characters of a library's own message


@contextmanager
def damage(path: Path | str, kind: type[RunError] = ShardError) -> Iterator[None]:
    """In this block every error of a library becomes one of that `kind`; our own errors pass.

    No list of exceptions would be complete: a flipped bit makes decoders raise UnicodeDecodeError, ArrowException,
    KeyError, RecursionError, MemoryError for an absurd size, and more.
    """
    try:
        yield
    except SemshardError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{path} is missing") from error
    except Exception as error:
        text = str(error).strip().partition("\n")[0][:_LONGEST]
        raise kind(f"{path} is damaged ({type(error).__name__}{': ' * bool(text)}{text})") from error
