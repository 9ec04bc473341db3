"""What a package needs to add sources, methods and countermeasures: docs/extending.md shows how.

The names are loaded when first used, so that a source does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import loader

if TYPE_CHECKING:
    from ..errors import RejectedImage, RunError, SettingError, SourceError
    from ..noise.methods import Noise
    from ..settings import Method, ProtectConfig
    from ..sources import Entry, Source, SourceKind, SourceOptions
    from ..victims import Countermeasure

_HOME = {
    "errors": ("RejectedImage", "RunError", "SettingError", "SourceError"),
    "noise.methods": ("Noise",),
    "settings": ("Method", "ProtectConfig"),
    "sources": ("Entry", "Source", "SourceKind", "SourceOptions"),
    "victims": ("Countermeasure",),
}
__all__ = [
    "Countermeasure",
    "Entry",
    "Method",
    "Noise",
    "ProtectConfig",
    "RejectedImage",
    "RunError",
    "SettingError",
    "Source",
    "SourceError",
    "SourceKind",
    "SourceOptions",
]


__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
