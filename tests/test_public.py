"""The public surface, pinned: a change here is a change for users."""

import inspect
import re

import pytest

import semshard

PUBLIC = {
    "AttackerResult", "AuditResult", "BenchResult", "CountermeasureInfo", "Event", "ExportResult", "Failure",
    "FamilyInfo", "AccuracySummary", "LedgerError", "MethodInfo", "OutputError", "Plan", "PlannedAttacker",
    "PlannedPart",
    "Progress", "ProtectConfig", "ProtectResult",
    "ReproduceResult", "RobustnessPoint", "RobustnessResult", "RunError", "Sample", "SemshardError",
    "SettingError", "ShardError", "Shards", "SourceCheck", "SourceError", "SourceKind", "SourceOptions", "StorageError",
    "SweepResult",
    "TableCell", "TimeIsUp", "TooManyRejects", "UsageError", "VerifyConfig", "VerifyPlan", "VerifyResult",
    "VictimResult", "KeyPair", "SignResult", "keygen", "sign",
    "__version__", "audit", "bench", "countermeasures", "export", "methods", "open_shards", "plan", "plan_reproduction",
    "plan_verification",
    "preview", "protect", "reproduce", "robustness", "source_kinds", "sweep", "train", "verify", "views",
    "check_source", "RemoveResult", "RepairResult", "Status", "remove", "repair", "status",
    "CardResult", "card", "Cluster", "Forecast", "Spread", "forecast", "WorkerOptions",
}  # fmt: skip


def test_the_public_names_are_these():
    assert set(semshard.__all__) == PUBLIC == set(dir(semshard))
    for name in PUBLIC:
        assert getattr(semshard, name) is not None


def test_no_other_name_is_there():
    with pytest.raises(AttributeError, match="no attribute 'protekt'"):
        semshard.protekt  # noqa: B018


FUNCTIONS = sorted(name for name in PUBLIC if inspect.isfunction(getattr(semshard, name)))


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__", "Progress"}))
def test_every_public_name_is_documented(name):
    text = vars(getattr(semshard, name)).get("__doc__") if name not in FUNCTIONS else getattr(semshard, name).__doc__
    assert text, "a class has a docstring of its own, not that of its parent"
    assert not text.startswith(f"{name}("), "the text that dataclasses generate says nothing"


def documentation(name):
    """The docstring of a function, and of the functions that it refers to, as `protect` does."""
    text = inspect.getdoc(getattr(semshard, name))
    return "\n".join([text, *(inspect.getdoc(getattr(semshard, other)) for other in FUNCTIONS if f"`{other}`" in text)])


SHARED = set(re.findall(r"^    (\w+)   +\S", semshard.__doc__, re.MULTILINE))  # parameters that the package describes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_of_a_public_function_is_documented(name):
    """By its name, in the singular or the plural: where the function is, or where the package lists shared ones."""
    words = set(re.findall(r"\w+", documentation(name)))
    parameters = set(inspect.signature(getattr(semshard, name)).parameters) - SHARED
    assert {each for each in parameters if not words & {each, f"{each}s", each.removesuffix("s")}} == set()


def test_every_shared_parameter_is_one_of_several_functions():
    for parameter in SHARED:
        takers = [name for name in FUNCTIONS if parameter in inspect.signature(getattr(semshard, name)).parameters]
        assert len(takers) > 1, parameter


def test_errors_carry_the_exit_code():
    assert issubclass(semshard.UsageError, semshard.SemshardError)
    assert semshard.UsageError.exit_code == 2
    assert semshard.RunError.exit_code == 1
    assert semshard.TimeIsUp.exit_code == 75
    assert semshard.OutputError.exit_code == semshard.SettingError.exit_code == semshard.SourceError.exit_code == 2
    assert semshard.TooManyRejects.exit_code == semshard.LedgerError.exit_code == semshard.ShardError.exit_code == 1
