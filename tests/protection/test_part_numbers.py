"""Which shards a part makes, and how its number is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import semshard
from semshard.numbered_part import NumberedPart
from semshard.protection.part import parse_part, parts_of


@given(st.integers(0, 500), st.integers(1, 60))
def test_every_shard_is_in_exactly_one_part_and_parts_are_of_one_size(shards, count):
    parts = [NumberedPart(number, count) for number in range(1, count + 1)]
    for shares in ([part.every_nth(shards) for part in parts], [part.consecutive(shards) for part in parts]):
        assert sorted(shard for share in shares for shard in share) == list(range(shards))
        sizes = [len(share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
    for number, share in enumerate((part.every_nth(shards) for part in parts), 1):
        assert parts_of(list(share), count) == ([NumberedPart(number, count)] if share else [])


@pytest.mark.parametrize(
    ("text", "part"), [("1/1", (1, 1)), ("2/8", (2, 8)), ("8/8", (8, 8)), ("0017/1000", (17, 1000))]
)
def test_a_part_is_written_as_two_numbers(text, part):
    assert parse_part(text, {}) == NumberedPart(*part)


@pytest.mark.parametrize(
    "text", ["", "2", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/8/2", "1.5/8", "auto/", "auto/0", "/8", "²/8"]
)
def test_anything_else_is_refused_in_words(text):
    with pytest.raises(semshard.SettingError, match="is not a valid part; write I/N"):
        parse_part(text, {"JOB_COMPLETION_INDEX": "0"})


def slurm(tasks, task, step=1):
    """The environment of one task of an array, as sbatch sets it."""
    names = {"ID": task, "COUNT": len(tasks), "MIN": min(tasks), "MAX": max(tasks), "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


@pytest.mark.parametrize("tasks", [range(8), range(1, 9), range(5, 6), range(0, 15, 2), range(3, 31, 9)], ids=str)
@pytest.mark.parametrize("text", ["auto", "auto/N"])
def test_the_tasks_of_a_slurm_array_are_all_parts(tasks, text):
    text = text.replace("N", str(len(tasks)))
    found = [parse_part(text, slurm(tasks, task, tasks.step)) for task in tasks]
    assert found == [NumberedPart(number, len(tasks)) for number in range(1, len(tasks) + 1)]


@pytest.mark.parametrize("text", ["auto", "auto/8"])
def test_the_jobs_of_an_aws_batch_array_are_all_parts(text):
    found = [
        parse_part(text, {"AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": "8"})
        for index in range(8)
    ]
    assert found == [NumberedPart(number, 8) for number in range(1, 9)]


def test_the_pods_of_an_indexed_job_are_all_parts():
    found = [parse_part("auto/8", {"JOB_COMPLETION_INDEX": str(index)}) for index in range(8)]
    assert found == [NumberedPart(number, 8) for number in range(1, 9)]


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("auto", {}, "the environment has none of SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, AWS_BATCH"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "0", "AWS_BATCH_JOB_ARRAY_INDEX": "0"}, "has several of"),
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "write --part auto/N"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "8"}, "says 9/8, which is not a valid part"),
        ("auto/8", {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX is 'x', which is not a number"),
        ("auto", slurm([3, 7], 7), r"not one range \(2 from 3 to 7\); write --part I/N, with the N of the first time"),
        ("auto/8", slurm([3, 4], 3), "this array has 2 tasks; write --part I/8"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_COUNT is '', which is not a number"),
        ("auto/4", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}, "this array has 8 jobs"),
    ],
)
def test_an_environment_that_does_not_say_it_is_refused_in_words(text, environment, said):
    with pytest.raises(semshard.SettingError, match=said):
        parse_part(text, environment)
