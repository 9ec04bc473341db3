"""Which part of the shards a process makes: I/N, as it is given, or as the array job that it belongs to says it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import SettingError
from ..numbered_part import NumberedPart

AUTO = "auto"


def parts_of(shards: list[int], count: int) -> list[NumberedPart]:
    """The parts of `count` that make those shards, in order."""
    return [NumberedPart(number, count) for number in sorted({shard % count + 1 for shard in shards})]


def parse_part(text: str, environment: Mapping[str, str]) -> NumberedPart:
    """The part that "2/8" means. "auto" takes number and count from the environment of a SLURM or AWS Batch array, and
    "auto/8" the number alone, also from a Kubernetes job with indexed completion, which does not give the count.

    Raises `SettingError` where the text is something else, or the environment does not say it.
    """
    first, _, rest = text.partition("/")
    count = int(rest) if re.fullmatch("[0-9]{1,9}", rest) else 0
    if first == AUTO and (count or text == AUTO):
        return _from_environment(count, environment)
    return NumberedPart.parse(text, f", {AUTO}, or {AUTO}/N")


def _from_environment(count: int, environment: Mapping[str, str]) -> NumberedPart:
    """`count` is 0 where the environment has to say it, too."""
    found = [read(environment, count) for name, read in _READERS.items() if name in environment]
    if len(found) != 1:
        names = ", ".join(_READERS)
        problem = "several of" if found else "none of"
        raise SettingError(f"--part auto: the environment has {problem} {names}; write --part I/N")
    part = found[0]
    if not part.is_valid:
        raise SettingError(f"--part auto: the environment says {part}, which is not a valid part; write --part I/N")
    return part


def _slurm(environment: Mapping[str, str], count: int) -> NumberedPart:
    """Tasks of an array, in their order: --array=0-7, 1-8 and 0-14:2 are parts 1/8 to 8/8."""
    task, tasks, first, last = (
        _whole(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "COUNT", "MIN", "MAX")
    )
    step = _whole(environment, "SLURM_ARRAY_TASK_STEP", 1)
    if last != first + step * (tasks - 1) or (task - first) % step:
        raise SettingError(
            f"--part auto: the tasks of this array are not one range ({tasks} from {first} to {last}); write "
            "--part I/N, with the N of the first time"
        )
    if count not in (0, tasks):
        raise SettingError(f"--part auto/{count}: this array has {tasks} tasks; write --part I/{count}")
    return NumberedPart((task - first) // step + 1, tasks)


def _kubernetes(environment: Mapping[str, str], count: int) -> NumberedPart:
    if not count:
        raise SettingError("--part auto: Kubernetes does not give the number of completions; write --part auto/N")
    return NumberedPart(_whole(environment, "JOB_COMPLETION_INDEX") + 1, count)


def _aws(environment: Mapping[str, str], count: int) -> NumberedPart:
    index, name = _whole(environment, "AWS_BATCH_JOB_ARRAY_INDEX"), "AWS_BATCH_JOB_ARRAY_SIZE"
    size = _whole(environment, name, count)
    if count not in (0, size):
        raise SettingError(f"--part auto/{count}: this array has {size} jobs; write --part I/{count}")
    return NumberedPart(index + 1, size)


_READERS = {
    "SLURM_ARRAY_TASK_ID": _slurm, "JOB_COMPLETION_INDEX": _kubernetes, "AWS_BATCH_JOB_ARRAY_INDEX": _aws
}  # fmt: skip


def _whole(environment: Mapping[str, str], name: str, default: int = 0) -> int:
    """The number in a variable; `default` where it is not there, if that is not 0. Raises `SettingError`."""
    text = environment.get(name, str(default) if default else "")
    if not re.fullmatch("[0-9]{1,9}", text):
        raise SettingError(f"--part auto: {name} is {text!r}, which is not a number; write --part I/N")
    return int(text)
