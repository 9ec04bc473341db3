"""Where a passphrase comes from: a file, an environment variable, or a prompt."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from semshard.errors import SettingError

VARIABLE = "SEMSHARD_PASSPHRASE"


def ask_passphrase(file: Path | None, *, new: bool = False) -> str:
    """The passphrase of a private key; one that is `new` is asked for twice. Raises `SettingError` where nobody can be
    asked.
    """
    if file:
        try:
            return (file.read_text("utf-8").splitlines() or [""])[0]
        except FileNotFoundError:
            raise SettingError(f"there is no passphrase file {file}") from None
        except UnicodeDecodeError:
            raise SettingError(f"{file} is not text in UTF-8") from None
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    if not sys.stdin.isatty():
        raise SettingError(f"the private key needs its passphrase: give --passphrase-file, or set {VARIABLE}")
    return str(typer.prompt("Passphrase of the private key", hide_input=True, confirmation_prompt=new, err=True))
