"""Every setting of a run: its name, meaning, bounds, what it belongs to, and how it is written."""

from .config import (
    ALL,
    CELL_SETTINGS,
    COUNTERED,
    COUNTERMEASURES,
    KEEP,
    LARGE,
    METHODS,
    NETWORKS,
    NO_LIST,
    ProtectConfig,
    Size,
    VerifyConfig,
)
from .presets import NAMED_VIEWS, PICTURES, protect_config, verify_config
from .radii import format_radius, levels, parse_radius
from .serialise import coerce, effective, fingerprint, from_json, parse, to_json
from .view_lists import FAMILIES, GEOMETRY, NAMES, FamilyInfo, normal, parse_view

__all__ = [
    "ALL",
    "CELL_SETTINGS",
    "COUNTERED",
    "COUNTERMEASURES",
    "FAMILIES",
    "GEOMETRY",
    "KEEP",
    "LARGE",
    "METHODS",
    "NAMED_VIEWS",
    "NAMES",
    "NETWORKS",
    "NO_LIST",
    "PICTURES",
    "FamilyInfo",
    "ProtectConfig",
    "Size",
    "VerifyConfig",
    "coerce",
    "effective",
    "fingerprint",
    "format_radius",
    "from_json",
    "levels",
    "normal",
    "parse",
    "parse_radius",
    "parse_view",
    "protect_config",
    "to_json",
    "verify_config",
]
