"""Where clean images come from: one file per kind, `open_source` opens any of them."""

from .collection import Collection, scan
from .open import open_source
from .source import Entry, Loaded, Source

__all__ = ["Collection", "Entry", "Loaded", "Source", "open_source", "scan"]
