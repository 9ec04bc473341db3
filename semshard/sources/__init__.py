"""Where clean images come from: one file per kind, `open_source` opens any of them."""

from .collection import Collection, check_classes, squash, unscanned, with_groups
from .decode import Decoded, Decoding, parse_colour
from .open import AUTO, SourceKind, SourceOptions, open_source, source_kinds
from .scanning import scan
from .source import Entry, Source

__all__ = [
    "AUTO",
    "Collection",
    "Decoded",
    "Decoding",
    "Entry",
    "Source",
    "SourceKind",
    "SourceOptions",
    "check_classes",
    "open_source",
    "parse_colour",
    "scan",
    "source_kinds",
    "squash",
    "unscanned",
    "with_groups",
]
