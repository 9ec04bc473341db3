"""Where clean images come from: one file per kind, `open_source` opens any of them."""

from .check import Check, SourceCheck, check_source
from .collection import Collection, check_classes, squash, unscanned, with_groups
from .decode import Decoded, Decoding, parse_colour
from .open import AUTO, SourceKind, SourceOptions, added_kinds, open_source, source_kinds
from .scanning import scan
from .source import Entry, Source

__all__ = [
    "AUTO",
    "Check",
    "Collection",
    "Decoded",
    "Decoding",
    "Entry",
    "Source",
    "SourceCheck",
    "SourceKind",
    "SourceOptions",
    "added_kinds",
    "check_classes",
    "check_source",
    "open_source",
    "parse_colour",
    "scan",
    "source_kinds",
    "squash",
    "unscanned",
    "with_groups",
]
