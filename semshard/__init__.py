"""semshard protects an image collection before it is published.

    import semshard

    semshard.protect("imgs", "shards", rho_a="2/255")
    semshard.audit("shards").ok
    semshard.verify("shards").verdict["sentence"]

The names below are all that is public; they are loaded when first used, so that importing the package costs nothing.

Parameters that several functions share:

    source               where the clean images are, in one of the forms that `source_kinds` lists
    out                  where the result is written
    preset               the settings to start from; "auto" is the preset that suits the device
    surrogate            a file that `train` wrote, to be used instead of training a surrogate
    device               "cpu", "cuda", … of torch; "auto" is a GPU where there is one
    max_rejects          the share of the inputs that may be unusable
    checkpoint_seconds   the time between two checkpoints of a training
    options              the `SourceOptions` of the source
    progress             a function that is called with every `Event`
    settings             fields of `ProtectConfig` or `VerifyConfig`, as keywords
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .lazy import loader

if TYPE_CHECKING:
    from .benchmark.bench import BenchResult, bench
    from .catalogue import CountermeasureInfo, MethodInfo, countermeasures, methods, views
    from .errors import (
        LedgerError,
        OutputError,
        RunError,
        SemshardError,
        SettingError,
        ShardError,
        SourceError,
        StorageError,
        TimeIsUp,
        TooManyRejects,
        UsageError,
    )
    from .inspection.audit import AuditResult, audit
    from .inspection.failure import Failure
    from .inspection.preview import preview
    from .measuring.simulation import Cluster, Spread
    from .progress import Event, Progress
    from .protection.dry_run import Plan, plan
    from .protection.forecast import Forecast, forecast
    from .protection.protect import protect
    from .protection.remove import RemoveResult, remove
    from .protection.repair import RepairResult, repair
    from .protection.result import ProtectResult
    from .protection.status import Status, status
    from .protection.surrogate import train
    from .publishing.card import CardResult, card
    from .publishing.export import ExportResult, export
    from .reproduction.reproduce import PlannedPart, plan_reproduction, reproduce
    from .reproduction.result import ReproduceResult
    from .reproduction.tables import TableCell
    from .settings import FamilyInfo, ProtectConfig, VerifyConfig
    from .shards import Sample, Shards, open_shards
    from .shards.signature import SignResult, sign
    from .signing import KeyPair, keygen
    from .sources import SourceCheck, SourceKind, SourceOptions, check_source, source_kinds
    from .studies.robustness import RobustnessPoint, RobustnessResult, robustness
    from .studies.sweep import SweepResult, sweep
    from .verification.estimate import PlannedAttacker, VerifyPlan
    from .verification.results import AccuracySummary, AttackerResult, VerifyResult, VictimResult
    from .verification.verify import plan_verification, verify
    from .workers import WorkerOptions

_HOME = {
    "benchmark.bench": ("BenchResult", "bench"),
    "catalogue": ("CountermeasureInfo", "MethodInfo", "countermeasures", "methods", "views"),
    "errors": (
        "LedgerError", "OutputError", "RunError", "SemshardError", "SettingError", "ShardError", "SourceError",
        "StorageError", "TimeIsUp", "TooManyRejects", "UsageError",
    ),
    "inspection.audit": ("AuditResult", "audit"),
    "inspection.failure": ("Failure",),
    "inspection.preview": ("preview",),
    "measuring.simulation": ("Cluster", "Spread"),
    "progress": ("Event", "Progress"),
    "publishing.card": ("CardResult", "card"),
    "protection.dry_run": ("Plan", "plan"),
    "protection.forecast": ("Forecast", "forecast"),
    "protection.protect": ("protect",),
    "protection.result": ("ProtectResult",),
    "protection.remove": ("RemoveResult", "remove"),
    "protection.repair": ("RepairResult", "repair"),
    "protection.status": ("Status", "status"),
    "protection.surrogate": ("train",),
    "publishing.export": ("ExportResult", "export"),
    "reproduction.reproduce": ("PlannedPart", "plan_reproduction", "reproduce"),
    "reproduction.result": ("ReproduceResult",),
    "reproduction.tables": ("TableCell",),
    "settings": ("FamilyInfo", "ProtectConfig", "VerifyConfig"),
    "shards": ("Sample", "Shards", "open_shards"),
    "shards.signature": ("SignResult", "sign"),
    "signing": ("KeyPair", "keygen"),
    "sources": ("SourceCheck", "SourceKind", "SourceOptions", "check_source", "source_kinds"),
    "studies.robustness": ("RobustnessPoint", "RobustnessResult", "robustness"),
    "studies.sweep": ("SweepResult", "sweep"),
    "verification.estimate": ("PlannedAttacker", "VerifyPlan"),
    "verification.results": ("AccuracySummary", "AttackerResult", "VerifyResult", "VictimResult"),
    "verification.verify": ("plan_verification", "verify"),
    "workers": ("WorkerOptions",),
}  # fmt: skip

__all__ = [
    "AttackerResult",
    "AuditResult",
    "BenchResult",
    "CardResult",
    "Cluster",
    "CountermeasureInfo",
    "Event",
    "ExportResult",
    "Failure",
    "FamilyInfo",
    "Forecast",
    "KeyPair",
    "AccuracySummary",
    "LedgerError",
    "MethodInfo",
    "OutputError",
    "Plan",
    "PlannedAttacker",
    "PlannedPart",
    "Progress",
    "ProtectConfig",
    "ProtectResult",
    "RemoveResult",
    "RepairResult",
    "ReproduceResult",
    "RobustnessPoint",
    "RobustnessResult",
    "RunError",
    "Sample",
    "SemshardError",
    "SettingError",
    "ShardError",
    "Shards",
    "SignResult",
    "SourceCheck",
    "SourceError",
    "SourceKind",
    "SourceOptions",
    "Spread",
    "Status",
    "StorageError",
    "SweepResult",
    "TableCell",
    "TimeIsUp",
    "TooManyRejects",
    "UsageError",
    "VerifyConfig",
    "VerifyPlan",
    "VerifyResult",
    "VictimResult",
    "WorkerOptions",
    "__version__",
    "audit",
    "bench",
    "card",
    "check_source",
    "countermeasures",
    "export",
    "forecast",
    "keygen",
    "methods",
    "open_shards",
    "plan",
    "plan_reproduction",
    "plan_verification",
    "preview",
    "protect",
    "remove",
    "repair",
    "reproduce",
    "robustness",
    "sign",
    "source_kinds",
    "status",
    "sweep",
    "train",
    "verify",
    "views",
]


__getattr__ = loader(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
