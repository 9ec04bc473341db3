"""Every setting of a run: its name, meaning, bounds, what it belongs to, and how it is written."""

from .attacker_sets import SETS
from .fields import Setting, declared, defaults, names_where
from .method import Method, method_plugin
from .names import (
    ALL,
    CELL_SETTINGS,
    COUNTERMEASURES,
    KEEP,
    LARGE,
    LISTED,
    METHODS,
    NETWORKS,
    NO_ADVERSARY,
    NO_LIST,
    RESERVATIONS,
    VOCABULARY,
    Size,
)
from .presets import NAMED_VIEWS, protect_config, verify_config
from .protect import FIXED_IN_SWEEP, MOST_IN_SHARD, PICTURES, SHAPES_SURROGATE, TRAINED_WITH, ProtectConfig
from .radii import format_radius, levels, parse_radius
from .serialise import coerce, effective, fingerprint, from_json, parse, to_json
from .verify import COUNTERED, FOR_ADVERSARY, FOR_EARLY_STOP, NOT_IN_RECIPE, VerifyConfig
from .view_lists import FAMILIES, GEOMETRY, NAMES, FamilyInfo, normal, parse_view

__all__ = [
    "ALL",
    "CELL_SETTINGS",
    "COUNTERED",
    "COUNTERMEASURES",
    "FAMILIES",
    "FIXED_IN_SWEEP",
    "FOR_ADVERSARY",
    "FOR_EARLY_STOP",
    "GEOMETRY",
    "KEEP",
    "LARGE",
    "LISTED",
    "METHODS",
    "MOST_IN_SHARD",
    "NAMED_VIEWS",
    "NAMES",
    "NETWORKS",
    "NOT_IN_RECIPE",
    "NO_ADVERSARY",
    "NO_LIST",
    "PICTURES",
    "RESERVATIONS",
    "SETS",
    "SHAPES_SURROGATE",
    "TRAINED_WITH",
    "VOCABULARY",
    "FamilyInfo",
    "Method",
    "ProtectConfig",
    "Setting",
    "Size",
    "VerifyConfig",
    "coerce",
    "declared",
    "defaults",
    "effective",
    "fingerprint",
    "format_radius",
    "from_json",
    "levels",
    "method_plugin",
    "names_where",
    "normal",
    "parse",
    "parse_radius",
    "parse_view",
    "protect_config",
    "to_json",
    "verify_config",
]
