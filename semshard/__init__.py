"""semshard protects an image collection before it is published.

    import semshard

    semshard.protect("imgs", "shards", rho_a="2/255")
    semshard.audit("shards").ok
    semshard.verify("shards", rho_a="2/255").verdict["sentence"]

The names below are all there is; they are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._audit import AuditResult, Failure, audit
    from ._bench import BenchResult, bench
    from ._countermeasures import CountermeasureInfo, countermeasures
    from ._grid import VictimResult
    from ._methods import MethodInfo, methods
    from ._plan import Plan, plan
    from ._preview import preview
    from ._protect import ProtectResult, protect
    from ._reproduce import PlannedPart, ReproduceResult, plan_reproduction, reproduce
    from ._robustness import RobustnessPoint, RobustnessResult, robustness
    from ._studies import TableCell
    from ._sweep import SweepResult, sweep
    from ._train import train
    from ._verify import AttackerResult, Figures, VerifyResult, verify
    from .config import ProtectConfig, VerifyConfig
    from .errors import (
        LedgerError,
        OutputError,
        RunError,
        SemshardError,
        SettingError,
        ShardError,
        SourceError,
        TimeIsUp,
        TooManyRejects,
        UsageError,
    )
    from .families import FamilyInfo, views
    from .progress import Event, Progress
    from .shards import Sample, Shards, open_shards
    from .sources import SourceKind, SourceOptions, source_kinds

_HOME = {
    "_audit": ("AuditResult", "Failure", "audit"),
    "_bench": ("BenchResult", "bench"),
    "_countermeasures": ("CountermeasureInfo", "countermeasures"),
    "_methods": ("MethodInfo", "methods"),
    "_plan": ("Plan", "plan"),
    "_preview": ("preview",),
    "_protect": ("ProtectResult", "protect"),
    "_reproduce": ("PlannedPart", "ReproduceResult", "plan_reproduction", "reproduce"),
    "_robustness": ("RobustnessPoint", "RobustnessResult", "robustness"),
    "_studies": ("TableCell",),
    "_sweep": ("SweepResult", "sweep"),
    "_train": ("train",),
    "_grid": ("VictimResult",),
    "_verify": ("AttackerResult", "Figures", "VerifyResult", "verify"),
    "config": ("ProtectConfig", "VerifyConfig"),
    "errors": (
        "LedgerError", "OutputError", "RunError", "SemshardError", "SettingError", "ShardError", "SourceError",
        "TimeIsUp", "TooManyRejects", "UsageError",
    ),
    "families": ("FamilyInfo", "views"),
    "progress": ("Event", "Progress"),
    "shards": ("Sample", "Shards", "open_shards"),
    "sources": ("SourceKind", "SourceOptions", "source_kinds"),
}  # fmt: skip

__all__ = [
    "AttackerResult",
    "AuditResult",
    "BenchResult",
    "CountermeasureInfo",
    "Event",
    "Failure",
    "FamilyInfo",
    "Figures",
    "LedgerError",
    "MethodInfo",
    "OutputError",
    "Plan",
    "PlannedPart",
    "Progress",
    "ProtectConfig",
    "ProtectResult",
    "ReproduceResult",
    "RobustnessPoint",
    "RobustnessResult",
    "RunError",
    "Sample",
    "SemshardError",
    "SettingError",
    "ShardError",
    "Shards",
    "SourceError",
    "SourceKind",
    "SourceOptions",
    "SweepResult",
    "TableCell",
    "TimeIsUp",
    "TooManyRejects",
    "UsageError",
    "VerifyConfig",
    "VerifyResult",
    "VictimResult",
    "__version__",
    "audit",
    "bench",
    "countermeasures",
    "methods",
    "open_shards",
    "plan",
    "plan_reproduction",
    "preview",
    "protect",
    "reproduce",
    "robustness",
    "source_kinds",
    "sweep",
    "train",
    "verify",
    "views",
]


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
