"""The public surface, pinned: a change here is a change for users."""

import inspect

import pytest

import semshard

PUBLIC = {
    "AttackerResult", "AuditResult", "BenchResult", "CountermeasureInfo", "Event", "Failure", "FamilyInfo",
    "AccuracySummary", "LedgerError", "MethodInfo", "OutputError", "Plan", "PlannedPart", "Progress", "ProtectConfig",
    "ProtectResult",
    "ReproduceResult", "RobustnessPoint", "RobustnessResult", "RunError", "Sample", "SemshardError",
    "SettingError", "ShardError", "Shards", "SourceError", "SourceKind", "SourceOptions", "SweepResult",
    "TableCell", "TimeIsUp", "TooManyRejects", "UsageError", "VerifyConfig", "VerifyResult", "VictimResult",
    "__version__", "audit", "bench", "countermeasures", "methods", "open_shards", "plan", "plan_reproduction",
    "preview", "protect", "reproduce", "robustness", "source_kinds", "sweep", "train", "verify", "views",
}  # fmt: skip


def test_the_public_names_are_these():
    assert set(semshard.__all__) == PUBLIC == set(dir(semshard))
    for name in PUBLIC:
        assert getattr(semshard, name) is not None


def test_no_other_name_is_there():
    with pytest.raises(AttributeError, match="no attribute 'protekt'"):
        semshard.protekt  # noqa: B018


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__", "Progress"}))
def test_every_public_name_is_documented(name):
    assert inspect.getdoc(getattr(semshard, name))


def test_errors_carry_the_exit_code():
    assert issubclass(semshard.UsageError, semshard.SemshardError)
    assert semshard.UsageError.exit_code == 2
    assert semshard.RunError.exit_code == 1
    assert semshard.TimeIsUp.exit_code == 75
    assert semshard.OutputError.exit_code == semshard.SettingError.exit_code == semshard.SourceError.exit_code == 2
    assert semshard.TooManyRejects.exit_code == semshard.LedgerError.exit_code == semshard.ShardError.exit_code == 1
