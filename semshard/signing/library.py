"""The libraries that sign: securesystemslib, and cryptography below it. They are an extra, loaded when first needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import SettingError


def library(module: str) -> Any:
    """A module of the extra `sign`. Raises `SettingError` where it is not installed."""
    try:
        import_module("cryptography.hazmat.primitives.serialization")  # securesystemslib would be imported without it
        return import_module(module)
    except ImportError as error:
        raise SettingError(
            f"signatures need the libraries securesystemslib and cryptography ({error}): pip install 'semshard[sign]'"
        ) from None
